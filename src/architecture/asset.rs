//! The built-in list of published architectures, `assets/architectures/architectures.bin`: read by blocks, of which a file
//! needs a few. `make.py` beside it says how it is laid out and writes it.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, LazyLock, OnceLock};

use flate2::read::DeflateDecoder;
use serde_json::{Map, Value};

use crate::assets::built_in;

const BYTES: &[u8] = include_bytes!("../../assets/architectures/architectures.bin");
const MAGIC: &[u8] = b"T2MARCH1";

/// Hashes in a tree's sketch, as `make.py` has it.
const SKETCH: usize = 24;

/// The built-in architectures. Most files are none of them: then only the sketches are looked at, and the index stays packed.
pub struct Asset {
    packed: &'static [u8],
    index: OnceLock<Index>,
    sketches: &'static [u8],
    blocks: &'static [u8],
}

#[derive(serde::Deserialize)]
struct Index {
    sketch: usize,
    libraries: Vec<(String, String)>,
    blocks: Vec<(usize, usize)>,
    trees: Vec<Tree>,
}

/// One tree of modules, which one or more published models are.
#[derive(Debug, serde::Deserialize)]
pub struct Tree {
    library: usize,
    /// The models' names, in their library.
    pub names: Vec<String>,
    /// The block that it is in.
    pub block: usize,
    /// Its root in that block.
    pub root: usize,
    /// How many tensors its state dict has.
    pub tensors: usize,
}

/// Trees of one family of models.
#[derive(Debug, serde::Deserialize)]
pub struct Block {
    classes: Vec<String>,
    #[serde(deserialize_with = "shared")]
    attributes: Vec<Arc<Map<String, Value>>>,
    texts: Vec<String>,
    nodes: Vec<Node>,
}

/// A module: class, attributes, tensors and children, by their places in the block's lists.
#[derive(Debug, serde::Deserialize)]
struct Node {
    class: usize,
    attributes: usize,
    tensors: Vec<(usize, u8, String, Option<Vec<u64>>)>,
    children: Vec<(usize, usize)>,
}

/// A module of an architecture.
#[derive(Debug, Clone, Copy)]
pub struct Described<'a> {
    block: &'a Block,
    node: &'a Node,
}

/// A tensor of such a module.
#[derive(Debug, Clone, Copy)]
pub struct DescribedTensor<'a> {
    pub name: &'a str,
    pub is_buffer: bool,
    /// `None` where it is made when the model first runs.
    pub shape: Option<&'a [u64]>,
}

impl Asset {
    /// The built-in one.
    pub fn get() -> &'static Asset {
        static ASSET: LazyLock<Asset> = LazyLock::new(|| built_in("architectures.bin", Asset::read(BYTES)));
        &ASSET
    }

    fn read(bytes: &'static [u8]) -> Result<Asset, String> {
        let header = || -> Option<_> {
            let (numbers, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
            let (index, sketches) = numbers.split_first_chunk::<4>()?;
            let index = u32::from_le_bytes(*index) as usize;
            let sketches = u32::from_le_bytes(*sketches.first_chunk()?) as usize;
            let (index, rest) = rest.split_at_checked(index)?;
            let (sketches, blocks) = rest.split_at_checked(sketches)?;
            Some((index, sketches, blocks))
        };
        let (index, sketches, blocks) = header().ok_or("it is cut off, or no such file")?;
        Ok(Asset { packed: index, index: OnceLock::new(), sketches, blocks })
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| built_in("index of architectures.bin", Index::read(self.packed, self.sketches.len())))
    }

    /// The hashes that each tree is found by, in the trees' order.
    pub fn sketches(&self) -> impl Iterator<Item = impl Iterator<Item = u32>> {
        let numbers = |sketch: &'static [u8]| {
            sketch.chunks_exact(4).filter_map(|number| Some(u32::from_le_bytes(*number.first_chunk()?)))
        };
        self.sketches.chunks_exact(SKETCH * 4).map(numbers)
    }

    /// Every tree.
    pub fn trees(&self) -> &[Tree] {
        &self.index().trees
    }

    /// The library of a tree, and the version that it was built with.
    pub fn library(&self, tree: &Tree) -> (&str, &str) {
        self.index().libraries.get(tree.library).map_or(("", ""), |(name, version)| (name, version))
    }

    /// A block, unpacked.
    ///
    /// # Errors
    /// The asset is broken.
    pub fn block(&self, number: usize) -> Result<Block, String> {
        let place = self.index().blocks.get(number);
        let bytes = place.and_then(|(start, length)| self.blocks.get(*start..)?.get(..*length));
        inflate(bytes.ok_or("a block lies outside of it")?)
    }
}

impl Index {
    fn read(packed: &[u8], sketches: usize) -> Result<Index, String> {
        let index: Index = inflate(packed)?;
        if index.sketch != SKETCH || sketches != index.trees.len() * SKETCH * 4 {
            return Err(format!("there are not {SKETCH} hashes for each tree"));
        }
        Ok(index)
    }
}

/// Unpack a part of an asset.
pub(super) fn inflate<Read: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<Read, String> {
    let mut text = Vec::new();
    DeflateDecoder::new(bytes).read_to_end(&mut text).map_err(|error| error.to_string())?;
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

fn shared<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Arc<Map<String, Value>>>, D::Error> {
    let rows: Vec<Map<String, Value>> = serde::Deserialize::deserialize(from)?;
    Ok(rows.into_iter().map(Arc::new).collect())
}

impl Block {
    /// A block of modules that are told one by one, as `named_modules` lists them: the first is the root.
    pub fn of(told: Vec<super::built::Module>) -> Block {
        let mut block = Block { classes: Vec::new(), attributes: Vec::new(), texts: Vec::new(), nodes: Vec::new() };
        let mut places: HashMap<String, usize> = HashMap::new();
        for (place, module) in told.into_iter().enumerate() {
            let super::built::Module { path, class, attributes, tensors } = module;
            // Where files have other names than modules, some that would stand between are not there.
            let ends = path.rmatch_indices('.').map(|(at, _)| (at, at + 1)).chain([(0, 0)]);
            let mut above = ends.filter_map(|(end, name)| Some((*places.get(path.get(..end)?)?, path.get(name..)?)));
            if let Some((parent, name)) = above.next().filter(|_| !path.is_empty())
                && let Some(parent) = block.nodes.get_mut(parent)
            {
                parent.children.push((block.texts.len(), place));
                block.texts.push(name.to_owned());
            }
            let tensors = tensors
                .into_iter()
                .map(|(name, kind, dtype, shape)| {
                    block.texts.push(name);
                    (block.texts.len() - 1, u8::from(kind == "buffer"), dtype, shape)
                })
                .collect();
            block.classes.push(class);
            block.attributes.push(Arc::new(attributes));
            block.nodes.push(Node { class: place, attributes: place, tensors, children: Vec::new() });
            places.insert(path, place);
        }
        block
    }

    /// The module at a place.
    pub fn module(&self, node: usize) -> Option<Described<'_>> {
        Some(Described { block: self, node: self.nodes.get(node)? })
    }

    fn text(&self, place: usize) -> &str {
        self.texts.get(place).map_or("", String::as_str)
    }
}

impl<'a> Described<'a> {
    /// Full path of its class.
    pub fn class(&self) -> &'a str {
        self.block.classes.get(self.node.class).map_or("", String::as_str)
    }

    /// What its constructor left in it.
    pub fn attributes(&self) -> Arc<Map<String, Value>> {
        self.block.attributes.get(self.node.attributes).cloned().unwrap_or_default()
    }

    /// Its own tensors.
    pub fn tensors(&self) -> impl Iterator<Item = DescribedTensor<'a>> + use<'a> {
        let block = self.block;
        self.node.tensors.iter().map(|(name, kind, _, shape)| DescribedTensor {
            name: block.text(*name),
            is_buffer: *kind == 1,
            shape: shape.as_deref(),
        })
    }

    /// Its children with their names.
    pub fn children(&self) -> impl Iterator<Item = (&'a str, Described<'a>)> + use<'a> {
        let block = self.block;
        self.node.children.iter().filter_map(|(name, node)| Some((block.text(*name), block.module(*node)?)))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "the built-in asset is no input")]
mod tests {
    use super::*;

    #[test]
    fn every_block_can_be_read_and_every_tree_has_its_tensors() {
        let asset = Asset::get();
        let mut last = (usize::MAX, None);
        let mut trees = 0;
        assert_eq!(asset.sketches().count(), asset.trees().len());
        // Its classes are said to be that library's.
        for (name, _) in &asset.index().libraries {
            assert_eq!(crate::registry::library(&format!("{name}.models.Net")), Some(name.as_str()), "{name}");
        }
        for tree in asset.trees() {
            assert!(!tree.names.is_empty() && !asset.library(tree).1.is_empty());
            if last.0 != tree.block {
                last = (tree.block, Some(asset.block(tree.block).unwrap()));
            }
            let root = last.1.as_ref().and_then(|block| block.module(tree.root)).unwrap();
            assert_eq!(count(root), tree.tensors, "{:?}", tree.names);
            trees += 1;
        }
        assert!(trees > 1000, "{trees}");
    }

    fn count(module: Described<'_>) -> usize {
        module.tensors().count() + module.children().map(|(_, child)| count(child)).sum::<usize>()
    }
}
