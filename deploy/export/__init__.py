"""Files for microcontrollers: int8 LiteRT, quantisation-aware training, C++ for TFLM."""
