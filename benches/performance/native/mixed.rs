//! A native container and one of WebAssembly in one pod, over the localhost that they share, as `husk run` has it.

use std::path::Path;

use super::pods::{OWN, own_files};
use super::{ADDRESS, NAMES};
use crate::PEER;
use crate::programs::{Programs, guest, numbers, output};
use crate::report::{Report, Value, medians};

const SAMPLES: usize = 5;

const NATIVE: &str = "bench/native";
const WASM: &str = "bench/network";

/// Who serves, and who asks.
#[derive(Debug, Clone, Copy)]
enum Served {
    ByNative,
    ByWasm,
}

/// `layer` is a directory with the files of an image.
pub(super) fn measure(programs: &Programs, layer: &Path, report: &mut Report) -> anyhow::Result<()> {
    output(programs.husk().args(["image", "build", "--tag", NATIVE]).arg(layer))?;
    programs.import(&guest("p2", "bench-network"), WASM)?;
    for (served, direction) in [(Served::ByNative, "WebAssembly to native"), (Served::ByWasm, "native to WebAssembly")]
    {
        let yaml = programs.write("mixed.yaml", &pod(served)?)?;
        let mut husk = || numbers(&output(programs.husk().args(["run", "--no-prefix"]).arg(&yaml))?, NAMES);
        let ([trip, rate], peer) = medians(SAMPLES, &mut husk, Some(&mut crate::network::native_pair))?;
        let name = "native, kernel loopback";
        let what = format!("native: localhost, {direction}, round trip of 64 bytes");
        report.add(&what, Value::nanos(trip), (name, peer.map(|[trip, _]| Value::nanos(trip))), None);
        let what = format!("native: localhost, {direction}, throughput");
        report.add(&what, Value::Rate(rate), (name, peer.map(|[_, rate]| Value::Rate(rate))), None);
    }
    Ok(())
}

/// A pod of both; the native container is this program, with the host's libraries.
fn pod(served: Served) -> anyhow::Result<String> {
    let (of_native, of_wasm) = match served {
        Served::ByNative => ("serve", "request"),
        Served::ByWasm => ("request", "serve"),
    };
    let (mut mounts, mut volumes) = (String::new(), String::new());
    for (index, (source, target)) in own_files()?.iter().enumerate() {
        mounts += &format!("    - {{name: v{index}, mountPath: {target}, readOnly: true}}\n");
        volumes += &format!("  - {{name: v{index}, hostPath: {{path: {}}}}}\n", source.display());
    }
    Ok(format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: bench}}\nspec:\n  restartPolicy: Never\n  containers:\n  - name: native\n    \
         image: {NATIVE}\n    command: [{}, {PEER}, {of_native}, '{ADDRESS}']\n    volumeMounts:\n{mounts}  - name: wasm\n    \
         image: {WASM}\n    args: [{of_wasm}, '{ADDRESS}']\n  volumes:\n{volumes}",
        OWN
    ))
}
