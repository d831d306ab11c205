//! Log files: what is written is read, as it is wanted, while they are written and after.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::files::{LogLimits, LogWriter, PodLogs};
use super::{LogQuery, LogReader, LogStream};
use crate::base::clock::Timestamp;

const LIMITS: LogLimits = LogLimits { file_bytes: 1000, files: 3 };

fn logs(directory: &Path) -> Arc<PodLogs> {
    PodLogs::new(directory, LIMITS)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// Writes one text per second to standard output.
fn write(writer: &LogWriter, texts: &[&str]) {
    for (second, text) in (0_i64..).zip(texts) {
        writer.write(LogStream::Stdout, at(second), text.as_bytes());
    }
}

/// Everything that a reader gives.
async fn all(mut reader: LogReader) -> String {
    let mut text = Vec::new();
    while let Some(piece) = reader.next().await.unwrap() {
        text.extend_from_slice(&piece);
    }
    String::from_utf8(text).unwrap()
}

async fn read(logs: &PodLogs, query: LogQuery) -> String {
    all(LogReader::new(logs, "c", 0, query)).await
}

/// Names of the files of container `c`, sorted.
fn files(directory: &TempDir) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory.path().join("logs/c")) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_is_printed_is_read_as_it_was() {
    let directory = TempDir::new().unwrap();
    let logs = logs(directory.path());
    let writer = logs.begin("c", 0).unwrap();
    let long = "x".repeat(40_000);
    write(&writer, &["a\nb", "c\n\n", "", &long, "\nlast"]);
    assert_eq!(read(&logs, LogQuery::default()).await, format!("a\nbc\n\n{}\n", &long));
    writer.complete(at(9));
    drop(writer);
    let expected = format!("a\nbc\n\n{long}\nlast");
    assert_eq!(read(&logs, LogQuery::default()).await, expected);
    // Another agent finds the same.
    assert_eq!(read(&PodLogs::new(directory.path(), LIMITS), LogQuery::default()).await, expected);
    assert_eq!(all(LogReader::new(&logs, "c", 5, LogQuery::default())).await, "", "an instance that never was");
    assert_eq!(all(LogReader::new(&logs, "d", 0, LogQuery::default())).await, "");
}

#[tokio::test]
async fn lines_are_chosen_by_number_time_stream_and_size() {
    let directory = TempDir::new().unwrap();
    let logs = logs(directory.path());
    let writer = logs.begin("c", 0).unwrap();
    write(&writer, &["one\n", "two\n", "three\n"]);
    writer.write(LogStream::Stderr, at(3), b"four\n");
    let query = LogQuery::default;
    for (query, expected) in [
        (LogQuery { tail_lines: Some(2), ..query() }, "three\nfour\n"),
        (LogQuery { tail_lines: Some(0), ..query() }, ""),
        (LogQuery { tail_lines: Some(4), ..query() }, "one\ntwo\nthree\nfour\n"),
        (LogQuery { tail_lines: Some(u64::MAX), ..query() }, "one\ntwo\nthree\nfour\n"),
        (LogQuery { since: Some(at(2)), ..query() }, "three\nfour\n"),
        (LogQuery { since: Some(at(2)), tail_lines: Some(3), ..query() }, "three\nfour\n"),
        (LogQuery { limit_bytes: Some(6), ..query() }, "one\ntw"),
        (LogQuery { limit_bytes: Some(0), ..query() }, ""),
        (LogQuery { stream: Some(LogStream::Stderr), ..query() }, "four\n"),
        (LogQuery { stream: Some(LogStream::Stdout), tail_lines: Some(1), ..query() }, "three\n"),
        (LogQuery { timestamps: true, tail_lines: Some(1), ..query() }, "2027-01-15T08:00:03.000000000Z four\n"),
    ] {
        assert_eq!(read(&logs, query).await, expected, "{query:?}");
    }
}

#[tokio::test]
async fn a_line_in_parts_has_one_time_and_a_last_one_without_an_end_counts() {
    let directory = TempDir::new().unwrap();
    let logs = logs(directory.path());
    let writer = logs.begin("c", 0).unwrap();
    let long = "y".repeat(20_000);
    write(&writer, &["first\n", &long, "\nlast"]);
    writer.complete(at(5));
    drop(writer);
    let tail = |lines| LogQuery { tail_lines: Some(lines), ..LogQuery::default() };
    assert_eq!(read(&logs, tail(1)).await, "last");
    assert_eq!(read(&logs, tail(2)).await, format!("{long}\nlast"));
    let stamped = read(&logs, LogQuery { timestamps: true, ..LogQuery::default() }).await;
    assert_eq!(stamped.matches("2027-01-15T").count(), 3, "{stamped}");
}

/// 1000 bytes a file and three files: what is older goes.
#[tokio::test]
async fn logs_are_bounded() {
    let directory = TempDir::new().unwrap();
    let logs = logs(directory.path());
    let writer = logs.begin("c", 0).unwrap();
    let line = |number: usize| format!("line {number:03}\n");
    for number in 0..200 {
        writer.write(LogStream::Stdout, at(0), line(number).as_bytes());
    }
    // 49 bytes each, so that 21 make a file full.
    assert_eq!(files(&directory), ["0.log", "0.log.8", "0.log.9"]);
    let expected = |from: usize| (from..200).map(line).collect::<String>();
    assert_eq!(read(&logs, LogQuery::default()).await, expected(7 * 21));
    for lines in [1, 12, 30, 53] {
        let query = LogQuery { tail_lines: Some(lines), ..LogQuery::default() };
        assert_eq!(read(&logs, query).await, expected(200 - usize::try_from(lines).unwrap()), "{lines}");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &str| directory.path().join(path).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("logs/c"), mode("logs/c/0.log"), mode("logs/c/0.log.8")), (0o700, 0o600, 0o600));
    }
    // The next agent goes on with the numbers.
    drop(writer);
    let again = PodLogs::new(directory.path(), LIMITS);
    let writer = again.begin("c", 0).unwrap();
    for number in 200..221 {
        writer.write(LogStream::Stdout, at(0), line(number).as_bytes());
    }
    assert_eq!(files(&directory), ["0.log", "0.log.10", "0.log.9"]);
    assert!(read(&again, LogQuery::default()).await.ends_with("line 219\nline 220\n"));
}

/// Kubernetes keeps one dead instance of a container.
#[tokio::test]
async fn the_instance_before_the_current_one_is_kept() {
    let directory = TempDir::new().unwrap();
    let logs = logs(directory.path());
    for attempt in 0..4 {
        let writer = logs.begin("c", attempt).unwrap();
        write(&writer, &[&format!("attempt {attempt}\n")]);
    }
    assert_eq!(files(&directory), ["2.log", "3.log"]);
    assert_eq!(all(LogReader::new(&logs, "c", 2, LogQuery::default())).await, "attempt 2\n");
    logs.begin("d", 0).unwrap();
    assert_eq!(files(&directory), ["2.log", "3.log"], "another container's");
}

#[tokio::test(start_paused = true)]
async fn a_follower_hears_of_everything_until_the_end() {
    let directory = TempDir::new().unwrap();
    let logs = logs(directory.path());
    let writer = logs.begin("c", 0).unwrap();
    write(&writer, &["before\n"]);
    let mut reader = LogReader::new(&logs, "c", 0, LogQuery { follow: true, ..LogQuery::default() });
    assert_eq!(reader.next().await.unwrap().unwrap(), "before\n");
    let waiting = tokio::time::timeout(Duration::from_secs(3600), reader.next()).await;
    assert!(waiting.is_err(), "nothing is there");
    // The wait that was given up has taken nothing with it.
    let mut reader =
        LogReader::new(&logs, "c", 0, LogQuery { follow: true, tail_lines: Some(0), ..LogQuery::default() });
    let following = tokio::spawn(async move {
        let mut pieces = Vec::new();
        while let Some(piece) = reader.next().await.unwrap() {
            pieces.extend_from_slice(&piece);
        }
        String::from_utf8(pieces).unwrap()
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut expected = String::new();
    for number in 0..60 {
        let line = format!("line {number}\n");
        writer.write(LogStream::Stdout, at(0), line.as_bytes());
        expected.push_str(&line);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(!following.is_finished());
    writer.write(LogStream::Stdout, at(0), b"no end");
    writer.complete(at(0));
    drop(writer);
    assert_eq!(following.await.unwrap(), format!("{expected}no end"));
    assert!(files(&directory).len() == 3, "the log was put aside meanwhile");
}

/// Whoever reads slower than is written loses what was removed, and nothing else; and holds nobody up.
#[tokio::test]
async fn a_slow_follower_passes_over_what_is_gone() {
    let directory = TempDir::new().unwrap();
    let logs = logs(directory.path());
    let writer = logs.begin("c", 0).unwrap();
    write(&writer, &["begin\n"]);
    let mut reader = LogReader::new(&logs, "c", 0, LogQuery { follow: true, ..LogQuery::default() });
    assert_eq!(reader.next().await.unwrap().unwrap(), "begin\n");
    for number in 0..1000 {
        writer.write(LogStream::Stdout, at(0), format!("line {number}\n").as_bytes());
    }
    drop(writer);
    let rest = all(reader).await;
    let lines: Vec<_> = rest.lines().collect();
    assert_eq!(lines.last(), Some(&"line 999"));
    // Three files of twenty lines, and what the reader had open when it was removed.
    assert!((40..=84).contains(&lines.len()), "{}", lines.len());
    let numbers = lines.iter().map(|line| line.strip_prefix("line ").unwrap().parse::<u32>().unwrap());
    assert!(numbers.clone().zip(numbers.skip(1)).all(|(one, next)| one < next), "{rest}");
}

#[tokio::test]
async fn damage_costs_the_damaged_lines_only() {
    let directory = TempDir::new().unwrap();
    let logs = logs(directory.path());
    drop(logs.begin("c", 0).unwrap());
    let good = "2027-01-15T08:00:00.000000000Z stdout F good\n";
    let torn = "2027-01-15T08:00:01.00000";
    let text = format!("{good}rubbish\n\n{}\n{good}{torn}", "z".repeat(200_000));
    std::fs::write(directory.path().join("logs/c/0.log"), text).unwrap();
    assert_eq!(read(&logs, LogQuery::default()).await, "good\ngood\n");
    let tail = LogQuery { tail_lines: Some(1), ..LogQuery::default() };
    assert_eq!(read(&logs, tail).await, "good\n");
}
