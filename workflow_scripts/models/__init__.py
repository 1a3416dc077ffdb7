"""Networks and losses, and how published weights get into them; they know no files of this project's."""
