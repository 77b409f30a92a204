//! What an operator asks: four-letter words now, HTTP and Prometheus later.
//!
//! Control thread. In: a question, and a [`report::Report`] gathered from the threads. Out: text.
//! Reads no other thread's state itself, so the answers are pure functions.

#![forbid(unsafe_code)]

mod date;
pub mod environment;
pub mod four_letter;
pub mod report;
