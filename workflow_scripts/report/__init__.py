"""One page of what was made: tables beside the papers', claims, figures, clips to hear, and what it cost."""
