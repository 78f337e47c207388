//! PrioritySort: the higher priority first, then the longer wait. It is the one order that the queue has, so that its
//! heap holds plain keys; the plugin stands for it in configurations.

use crate::framework::{Plugin, Point};

pub struct PrioritySort;

impl Plugin for PrioritySort {
    fn name(&self) -> &'static str {
        "PrioritySort"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::QueueSort]
    }
}
