//! The room retrain.
