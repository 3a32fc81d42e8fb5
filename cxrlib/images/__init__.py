"""Files of radiographs: decoding, grey scale, and the square pixels that a network sees."""
