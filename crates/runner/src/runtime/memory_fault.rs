//! Memory that runs out where a test says so. A real limit would hit libtorch wherever it happens
//! to allocate, and not everywhere does it survive that.

use egsde_data::lock::lock;
use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};

/// Environment variable of tests: `PLACE NUMBER: TEXT` lets memory run out at the NUMBER-th call at
/// a place (`*`: at every call), with a text of libtorch.
const VARIABLE: &str = "EGSDE_MEMORY_FAULT";

/// Where work begins that needs memory on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A batch of images is translated.
    Batch,
    /// A step of a batch is over.
    Step,
    /// Images of a part get their features.
    Part,
}

#[derive(Debug, PartialEq)]
struct Fault {
    place: Place,
    /// None at every call.
    number: Option<usize>,
    text: String,
}

impl Fault {
    /// A fault as the variable spells it; none of another text.
    fn parse(value: &str) -> Option<Self> {
        let (at, text) = value.split_once(": ")?;
        let (place, number) = at.split_once(' ')?;
        let place = match place {
            "batch" => Place::Batch,
            "step" => Place::Step,
            "part" => Place::Part,
            _ => return None,
        };
        let number = match number {
            "*" => None,
            number => Some(number.parse().ok()?),
        };
        let text = text.to_string();
        Some(Self {
            place,
            number,
            text,
        })
    }

    fn strikes(&self, place: Place, number: usize) -> bool {
        self.place == place && self.number.is_none_or(|wanted| wanted == number)
    }
}

/// The number of this call at a place, from 1.
fn count_call(place: Place) -> usize {
    static CALLS: Mutex<BTreeMap<Place, usize>> = Mutex::new(BTreeMap::new());
    let mut calls = lock(&CALLS);
    let number = calls.entry(place).or_default();
    *number += 1;
    *number
}

/// Stands where work begins that may find no memory; does nothing outside tests.
///
/// # Panics
/// As tch does when libtorch reports that memory ran out, at the call that the variable names.
pub fn check(place: Place) {
    static FAULT: OnceLock<Option<Fault>> = OnceLock::new();
    let fault = FAULT.get_or_init(|| Fault::parse(&std::env::var(VARIABLE).ok()?));
    if let Some(fault) = fault
        && fault.strikes(place, count_call(place))
    {
        panic!(
            "called `Result::unwrap()` on an `Err` value: Torch({:?})",
            fault.text
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_at_its_call() {
        let fault = Fault::parse("step 3: CUDA error: out of memory").unwrap();
        assert_eq!(fault.text, "CUDA error: out of memory");
        assert!(fault.strikes(Place::Step, 3));
        assert!(!fault.strikes(Place::Step, 2) && !fault.strikes(Place::Part, 3));
        let always = Fault::parse("batch *: std::bad_alloc").unwrap();
        assert!((1..9).all(|number| always.strikes(Place::Batch, number)));
        for text in ["", "batch", "batch 1", "bath 1: x", "batch one: x"] {
            assert_eq!(Fault::parse(text), None, "{text}");
        }
    }
}
