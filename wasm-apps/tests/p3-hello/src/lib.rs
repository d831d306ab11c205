//! A WASI 0.3 command: an asynchronous `wasi:cli/run` that greets and prints its arguments.

wasip3::cli::command::export!(Hello);

struct Hello;

impl wasip3::exports::cli::run::Guest for Hello {
    async fn run() -> Result<(), ()> {
        let (mut output, stream) = wasip3::wit_stream::new();
        let written = wasip3::cli::stdout::write_via_stream(stream);
        let mut text = "hello from wasi 0.3\n".to_owned();
        for argument in wasip3::cli::environment::get_arguments().iter().skip(1) {
            text.push_str(&format!("argument {argument}\n"));
        }
        let rest = output.write_all(text.into_bytes()).await;
        drop(output);
        written.await.map_err(|_| ())?;
        if rest.is_empty() { Ok(()) } else { Err(()) }
    }
}
