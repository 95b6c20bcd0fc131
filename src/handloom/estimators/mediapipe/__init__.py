"""MediaPipe's hand networks, read from its .tflite files and rebuilt in torch (facts/assets.md B)."""
