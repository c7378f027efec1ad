//! A task of somebody who plays music or types: wakes every 10 ms, works for about a millisecond, and notes how long after its time
//! it was done. Prints the median and the 99th percentile in microseconds after the number of ticks that it is told.
use std::hint::black_box;
use std::thread::sleep;
use std::time::{Duration, Instant};

fn main() {
    let ticks: u32 = std::env::args().nth(1).expect("number of ticks").parse().expect("number");
    let (start, period) = (Instant::now(), Duration::from_millis(10));
    let mut late: Vec<u128> = Vec::new();
    for tick in 1..=ticks {
        let due = start + period * tick;
        sleep(due.saturating_duration_since(Instant::now()));
        let mut sum = 0u64;
        for n in 0..1_000_000u64 {
            sum = black_box(sum.wrapping_mul(31).wrapping_add(n));
        }
        black_box(sum);
        late.push((Instant::now() - due).as_micros());
    }
    late.sort_unstable();
    println!("{} {}", late[late.len() / 2], late[late.len() * 99 / 100]);
}
