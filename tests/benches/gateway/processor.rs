//! The processor time of processes.

use std::{fs, time::Duration};

/// The processor time that a process and its children have used.
pub(crate) fn used(process: u32) -> Duration {
    let children = children(process);
    children.into_iter().chain([process]).map(used_alone).sum()
}

/// The children of a process.
pub(crate) fn children(process: u32) -> Vec<u32> {
    let parent = process.to_string();
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers
        .filter(|number| {
            let stat = fields(*number);
            // proc(5): field 4 is the parent.
            stat.get(1).is_some_and(|its| *its == parent)
        })
        .collect()
}

fn used_alone(process: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task"));
    let threads = threads.into_iter().flatten().flatten();
    // schedstat counts nanoseconds, but a kernel may be built without it.
    let precise: Option<u64> = threads
        .map(|thread| {
            let schedstat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            schedstat.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum();
    if let Some(nanoseconds) = precise {
        return Duration::from_nanos(nanoseconds);
    }
    // proc(5): fields 14 and 15 are user and system time, in hundredths of a second.
    let stat = fields(process);
    let times = stat.iter().skip(11).take(2);
    let ticks: u64 = times.filter_map(|time| time.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// The fields of /proc/PID/stat from the third one on. The name of the program, which may have blanks, ends with the last
/// parenthesis.
fn fields(process: u32) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields.split_whitespace().map(str::to_owned).collect()
}
