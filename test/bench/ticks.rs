//! A task of somebody who plays music or types: wakes every 10 ms, works for about a millisecond, and notes how long after its time
//! it was done. Prints that in microseconds, for each of as many ticks as it is told.
use std::hint::black_box;
use std::thread::sleep;
use std::time::{Duration, Instant};

fn main() {
    let ticks: u32 = std::env::args().nth(1).expect("number of ticks").parse().expect("number");
    let (start, period) = (Instant::now(), Duration::from_millis(10));
    let mut late: Vec<String> = Vec::new();
    for tick in 1..=ticks {
        let due = start + period * tick;
        sleep(due.saturating_duration_since(Instant::now()));
        let mut sum = 0u64;
        for n in 0..1_000_000u64 {
            sum = black_box(sum.wrapping_mul(31).wrapping_add(n));
        }
        black_box(sum);
        late.push((Instant::now() - due).as_micros().to_string());
    }
    println!("{}", late.join(" "));
}
