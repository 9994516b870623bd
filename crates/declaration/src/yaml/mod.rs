//! YAML with a position on every key and value: `node` (the tree), `parse` (text to tree),
//! `typed` (numbers as docker compose writes them), `merge` (a later file over an earlier one), `view` (typed reading, in which no key is lost).

#[cfg(test)]
pub(super) mod accepted;
mod merge;
mod node;
mod parse;
mod typed;
mod view;

pub(super) use merge::{clear, overlay, overlay_service};
pub(super) use node::{Key, Kind, Node, Position, Scalar, Value};
pub(super) use parse::{Document, documents, parse};
pub(super) use view::{Fields, View, is_foreign_extension};
