"""Is it biology, the scanner, or chance?"""
