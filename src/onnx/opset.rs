//! What an ONNX file says of itself before anything runs it: the operators that it is made of, and where its weights lie.

use prost::Message as _;

/// `TensorProto.DataLocation.EXTERNAL`.
const EXTERNAL: i32 = 1;

/// What is read of a graph (onnx.proto, `ModelProto`).
#[derive(Clone, PartialEq, prost::Message)]
struct GraphFile {
    #[prost(message, optional, tag = "7")]
    graph: Option<Nodes>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSet>,
}

/// `GraphProto`.
#[derive(Clone, PartialEq, prost::Message)]
struct Nodes {
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<Weights>,
}

/// `TensorProto`, without its numbers.
#[derive(Clone, PartialEq, prost::Message)]
struct Weights {
    #[prost(int32, tag = "14")]
    data_location: i32,
}

/// `OperatorSetIdProto`.
#[derive(Clone, PartialEq, prost::Message)]
struct OperatorSet {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

/// The version of ONNX's own operators that a graph is made of; an error where its weights lie elsewhere.
pub(super) fn opset_of(graph: &[u8]) -> Result<u32, String> {
    let graph = GraphFile::decode(graph).map_err(|error| format!("it is no ONNX graph: {error}"))?;
    if graph.graph.iter().flat_map(|nodes| &nodes.initializer).any(|weights| weights.data_location == EXTERNAL) {
        return Err("its weights lie in a file beside it; export it into one file".to_owned());
    }
    let own = graph.opset_import.iter().find(|set| matches!(set.domain.as_str(), "" | "ai.onnx"));
    own.and_then(|set| u32::try_from(set.version).ok())
        .ok_or_else(|| "it is no ONNX graph: it names no operator set".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_graph_names_its_operators_and_has_its_weights_in_itself() {
        let graph = |sets: &[(&str, i64)], data_location: i32| {
            let set = |(domain, version): &(&str, i64)| OperatorSet { domain: (*domain).to_owned(), version: *version };
            let graph = Some(Nodes { initializer: vec![Weights { data_location: 0 }, Weights { data_location }] });
            GraphFile { graph, opset_import: sets.iter().map(set).collect() }.encode_to_vec()
        };
        assert_eq!(opset_of(&graph(&[("com.microsoft", 1), ("", 17)], 0)), Ok(17));
        assert!(opset_of(&graph(&[("", 17)], EXTERNAL)).unwrap_err().contains("export it into one file"));
        assert!(opset_of(&graph(&[], 0)).unwrap_err().contains("no ONNX graph"));
        assert!(opset_of(b"not a graph").is_err());
    }
}
