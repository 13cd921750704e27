//! What an ONNX file says of itself before anything runs it: the operators that it is made of, and where its weights lie.

use prost::Message as _;

/// `TensorProto.DataLocation.EXTERNAL`.
const EXTERNAL: i32 = 1;

/// What is read of a graph (onnx.proto, `ModelProto`).
#[derive(Clone, PartialEq, prost::Message)]
struct GraphFile {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSet>,
    #[prost(message, repeated, tag = "25")]
    functions: Vec<Function>,
}

/// `GraphProto`.
#[derive(Clone, PartialEq, prost::Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<Weights>,
    #[prost(message, repeated, tag = "15")]
    sparse_initializer: Vec<SparseWeights>,
}

/// `SparseTensorProto`.
#[derive(Clone, PartialEq, prost::Message)]
struct SparseWeights {
    #[prost(message, optional, tag = "1")]
    values: Option<Weights>,
    #[prost(message, optional, tag = "2")]
    indices: Option<Weights>,
}

/// `FunctionProto`.
#[derive(Clone, PartialEq, prost::Message)]
struct Function {
    #[prost(message, repeated, tag = "7")]
    node: Vec<Node>,
}

/// `NodeProto`.
#[derive(Clone, PartialEq, prost::Message)]
struct Node {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<Attribute>,
}

/// `AttributeProto`, of which graphs and weights are what counts.
#[derive(Clone, PartialEq, prost::Message)]
struct Attribute {
    #[prost(message, optional, tag = "5")]
    t: Option<Weights>,
    #[prost(message, optional, tag = "6")]
    g: Option<Graph>,
    #[prost(message, repeated, tag = "10")]
    tensors: Vec<Weights>,
    #[prost(message, repeated, tag = "11")]
    graphs: Vec<Graph>,
}

impl Weights {
    const fn are_elsewhere(&self) -> bool {
        self.data_location == EXTERNAL
    }
}

impl Graph {
    /// Those of graphs within graphs too.
    fn has_weights_elsewhere(&self) -> bool {
        let sparse = self.sparse_initializer.iter().flat_map(|weights| weights.values.iter().chain(&weights.indices));
        self.initializer.iter().chain(sparse).any(Weights::are_elsewhere)
            || self.node.iter().any(Node::has_weights_elsewhere)
    }
}

impl Node {
    fn within(&self) -> impl Iterator<Item = &Graph> {
        self.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
    }

    fn has_weights_elsewhere(&self) -> bool {
        let mut own = self.attribute.iter().flat_map(|attribute| attribute.t.iter().chain(&attribute.tensors));
        own.any(Weights::are_elsewhere) || self.within().any(Graph::has_weights_elsewhere)
    }

    /// Whether it goes on as long as a condition holds: a `Loop` whose first input, the most turns, is left out.
    fn may_never_end(&self) -> bool {
        let is_endless = self.op_type == "Loop" && self.input.first().is_none_or(String::is_empty);
        is_endless || self.within().flat_map(|graph| &graph.node).any(Self::may_never_end)
    }
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

/// The version of ONNX's own operators that a graph is made of; an error where its weights lie elsewhere, or where
/// nobody can say that it ends.
pub(super) fn opset_of(graph: &[u8]) -> Result<u32, String> {
    let graph = GraphFile::decode(graph).map_err(|error| format!("it is no ONNX graph: {error}"))?;
    let functions = || graph.functions.iter().flat_map(|function| &function.node);
    if graph.graph.iter().any(Graph::has_weights_elsewhere) || functions().any(Node::has_weights_elsewhere) {
        return Err("its weights lie in a file beside it; export it into one file".to_owned());
    }
    let nodes = graph.graph.iter().flat_map(|graph| &graph.node);
    if nodes.chain(functions()).any(Node::may_never_end) {
        return Err(
            "it has a Loop without a largest number of turns, which may never end; export it without".to_owned()
        );
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
            let initializer = vec![Weights { data_location: 0 }, Weights { data_location }];
            let graph = Some(Graph { initializer, ..Graph::default() });
            GraphFile { graph, opset_import: sets.iter().map(set).collect(), functions: Vec::new() }.encode_to_vec()
        };
        assert_eq!(opset_of(&graph(&[("com.microsoft", 1), ("", 17)], 0)), Ok(17));
        assert!(opset_of(&graph(&[("", 17)], EXTERNAL)).unwrap_err().contains("export it into one file"));
        assert!(opset_of(&graph(&[], 0)).unwrap_err().contains("no ONNX graph"));
        assert!(opset_of(b"not a graph").is_err());
    }
    #[test]
    fn endless_loops_are_found_wherever_they_stand_and_weights_in_branches_too() {
        let node = |op_type: &str, within: Vec<Graph>| {
            let (first, rest) =
                within.split_first().map_or((None, &[][..]), |(first, rest)| (Some(first.clone()), rest));
            let attribute =
                vec![Attribute::default(), Attribute { g: first, graphs: rest.to_vec(), ..Attribute::default() }];
            Node { op_type: op_type.to_owned(), attribute, ..Node::default() }
        };
        let graph = |node: Vec<Node>| Graph { node, ..Graph::default() };
        let opset_import = vec![OperatorSet { domain: String::new(), version: 17 }];
        let file = |graph: Graph, functions: Vec<Function>| {
            GraphFile { graph: Some(graph), opset_import: opset_import.clone(), functions }.encode_to_vec()
        };
        let branch = || graph(vec![node("Add", Vec::new())]);
        let plain = graph(vec![node("MatMul", Vec::new()), node("If", vec![branch(), branch()])]);
        assert_eq!(opset_of(&file(plain.clone(), Vec::new())), Ok(17));
        let looping = |input: &[&str]| {
            let input = input.iter().map(|name| (*name).to_owned()).collect();
            Node { input, ..node("Loop", vec![branch()]) }
        };
        assert_eq!(opset_of(&file(graph(vec![looping(&["most", "holds"])]), Vec::new())), Ok(17), "it ends");
        for endless in [looping(&["", "holds"]), looping(&[])] {
            let nested = graph(vec![node("If", vec![branch(), graph(vec![endless.clone()])])]);
            let function = Function { node: vec![endless] };
            for file in [file(nested, Vec::new()), file(plain.clone(), vec![function])] {
                assert!(opset_of(&file).unwrap_err().contains("which may never end"));
            }
        }
        let outside = || Weights { data_location: EXTERNAL };
        let constant = |attribute: Attribute| Node { attribute: vec![attribute], ..node("Constant", Vec::new()) };
        let sparse = SparseWeights { values: None, indices: Some(outside()) };
        for hidden in [
            graph(vec![node("If", vec![branch(), Graph { initializer: vec![outside()], ..Graph::default() }])]),
            graph(vec![constant(Attribute { t: Some(outside()), ..Attribute::default() })]),
            graph(vec![constant(Attribute { tensors: vec![outside()], ..Attribute::default() })]),
            Graph { sparse_initializer: vec![sparse], ..Graph::default() },
        ] {
            let function = Function { node: hidden.node.clone() };
            assert!(opset_of(&file(hidden, Vec::new())).unwrap_err().contains("export it into one file"));
            let called = opset_of(&file(branch(), vec![function.clone()]));
            assert_eq!(called.is_err(), !function.node.is_empty(), "{function:?}");
        }
    }
}
