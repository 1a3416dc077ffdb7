"""What is said of a clip. Add words and patterns to the lists; they are drawn from, so every one changes all draws."""
