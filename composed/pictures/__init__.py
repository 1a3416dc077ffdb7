"""What is seen: glyphs of a font as moving objects, and the video files that they are encoded in."""
