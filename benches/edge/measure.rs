//! What is measured of processes, what of rounds counts, and what is asked in all benchmarks.

use std::fs::read_to_string;

use serde_json::json;

/// Clock ticks a second in `/proc/…/stat`: 100 on every Linux.
const TICKS: f64 = 100.0;

/// A process's processor time so far, user and system.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let stat = read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The program's name stands in brackets and may have anything in it.
    let fields = stat.rsplit(')').next().unwrap();
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next().unwrap().parse::<f64>().unwrap();
    (ticks() + ticks()) / TICKS
}

/// A process's resident memory, in KiB.
pub(crate) fn resident_kib(pid: u32) -> f64 {
    let status = read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mut lines = status.lines();
    let line = lines.find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The middle one: a round that something else disturbed does not count.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The body of a create with ten lines.
pub(crate) fn create_body() -> String {
    let lines: Vec<_> = (1..=10)
        .map(|number| {
            json!({
                "description": format!("Consulting on the migration of the archive, part {number}"),
                "product": format!("SKU-{number:04}"),
                "quantity": "2.5", "unit": "hour", "unit_price": "99.90",
                "tax": {"category": "S", "rate": "19"},
            })
        })
        .collect();
    json!({
        "bill_to": {
            "name": "Ada Werke AG", "email": "ap@ada.example", "tax_id": "DE987654321",
            "address": {
                "line1": "Ring 1", "city": "Berlin", "postal_code": "10115", "country": "DE",
            },
        },
        "currency": "EUR", "purchase_order": "PO-7", "due_in_days": 14,
        "memo": "Thank you for your trust.", "lines": lines,
    })
    .to_string()
}
