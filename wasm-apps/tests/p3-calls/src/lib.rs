//! A WASI 0.3 command that calls what std does not: `calls files` and `calls sockets` go through the interfaces and
//! print what they gave; `calls serve PORT` echoes one connection; `calls wait` waits for the end of the clock.

mod files;
mod sockets;

wasip3::cli::command::export!(Calls);

/// Lines to print.
type Report = Vec<String>;

struct Calls;

impl wasip3::exports::cli::run::Guest for Calls {
    async fn run() -> Result<(), ()> {
        let arguments = wasip3::cli::environment::get_arguments();
        let arguments: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
        let mut report = Report::new();
        let end = match arguments[..] {
            ["files"] => format!("{:?}", files::tour(&mut report).await),
            ["sockets"] => format!("{:?}", sockets::tour(&mut report).await),
            ["serve", port] => format!("{:?}", sockets::serve(port.parse().map_err(|_| ())?).await),
            ["wait"] => {
                print("waiting".to_owned()).await?;
                wasip3::clocks::monotonic_clock::wait_for(u64::MAX).await;
                "waited".to_owned()
            }
            _ => return Err(()),
        };
        report.push(end);
        print(report.join("\n")).await
    }
}

async fn print(text: String) -> Result<(), ()> {
    let (mut output, stream) = wasip3::wit_stream::new();
    let written = wasip3::cli::stdout::write_via_stream(stream);
    output.write_all((text + "\n").into_bytes()).await;
    drop(output);
    written.await.map_err(|_| ())
}
