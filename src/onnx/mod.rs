//! The room onnx.
