//! The contents of square brackets: slices, numbers, arrays of indices, and `x.at[…].add(v)`.

use serde_json::{Map, Value};
use tree_sitter::Node;

use super::{Argument, Lower, Lowered};
use t2m_engine::program::{Operand, Step};

impl<'t> Lower<'t> {
    /// `x[:, 1:3] = v`: the array with that part replaced, under the same name.
    pub(super) fn set_slice(&mut self, left: Node<'t>, right: Node<'t>) -> Lowered<Vec<Operand>> {
        let target = self.field(left, "value")?;
        let (whole, value) = (self.array(target)?, self.array(right)?);
        let slices = self.slices(left)?.ok_or_else(|| self.error(left, "only slices can be assigned to"))?;
        let result = self.step("set_slice", vec![whole, value], slices);
        self.names.insert(self.slice(target).to_owned(), Argument::Array(result.clone()));
        Ok(vec![result])
    }

    /// `x.at[…]`
    pub(super) fn is_at(&self, node: Node<'t>) -> bool {
        node.kind() == "subscript"
            && node.child_by_field_name("value").is_some_and(|value| self.slice(value).ends_with(".at"))
    }

    /// `x.at[…].add(v)`, by slices or by arrays of indices.
    pub(super) fn at_add(&mut self, at: Node<'t>, list: Node<'t>, to: Vec<String>) -> Lowered<()> {
        let object = self.field(self.field(at, "value")?, "object")?;
        let whole = self.array(object)?;
        let (positional, _) = self.arguments(list)?;
        let [values] = positional.as_slice() else { return Err(self.error(list, "one argument is expected")) };
        let values = values.operand().ok_or_else(|| self.error(list, "an array is expected"))?;
        let mut inputs = vec![whole, values];
        let args = match self.slices(at)? {
            Some(slices) => slices,
            None => {
                for index in at.children_by_field_name("subscript", &mut at.walk()) {
                    inputs.push(self.array(index)?);
                }
                Map::new()
            }
        };
        self.program.steps.push(Step { to, call: "at_add".to_owned(), inputs, args });
        Ok(())
    }

    /// `x.at[i].maximum(v)` and the like, by one array of indices.
    pub(super) fn at(&mut self, at: Node<'t>, method: &str, list: Node<'t>, to: Vec<String>) -> Lowered<()> {
        let object = self.field(self.field(at, "value")?, "object")?;
        let whole = self.array(object)?;
        let (positional, _) = self.arguments(list)?;
        let [values] = positional.as_slice() else { return Err(self.error(list, "one argument is expected")) };
        let values = values.operand().ok_or_else(|| self.error(list, "an array is expected"))?;
        let places = self.array(self.field(at, "subscript")?)?;
        let inputs = vec![whole, values, places];
        self.program.steps.push(Step { to, call: format!("at_{method}"), inputs, args: Map::new() });
        Ok(())
    }

    /// `x[:, 1:3]`, `x[0]`, `x[..., None]`, `x[indices]`
    pub(super) fn subscript(&mut self, node: Node<'t>) -> Lowered<Operand> {
        let whole = self.array(self.field(node, "value")?)?;
        let places: Vec<Node<'_>> = node.children_by_field_name("subscript", &mut node.walk()).collect();
        if let Some(slices) = self.slices(node)? {
            return Ok(self.step("slice", vec![whole], slices));
        }
        let kinds: Vec<&str> = places.iter().map(|place| place.kind()).collect();
        match kinds.as_slice() {
            ["ellipsis", "none"] => {
                let name = self.dialect.expand_dims();
                Ok(self.step(name.0, vec![whole], Map::from_iter([(name.1.to_owned(), (-1).into())])))
            }
            ["integer"] => {
                let at = self.expression(places[0])?;
                let Argument::Plain(at) = at else { return Err(self.error(node, "a number is expected")) };
                Ok(self.step("index", vec![whole], Map::from_iter([("at".to_owned(), at)])))
            }
            _ => {
                let mut inputs = vec![whole];
                for place in places {
                    inputs.push(self.array(place)?);
                }
                Ok(self.step("getitem", inputs, Map::new()))
            }
        }
    }

    /// The places as slices, if all of them are.
    fn slices(&mut self, node: Node<'t>) -> Lowered<Option<Map<String, Value>>> {
        let (mut starts, mut stops, mut strides) = (Vec::new(), Vec::new(), Vec::new());
        for place in node.children_by_field_name("subscript", &mut node.walk()) {
            if place.kind() != "slice" {
                return Ok(None);
            }
            let [start, stop, stride] = self.slice_parts(place)?;
            starts.push(start.into());
            stops.push(stop.into());
            strides.push(stride.unwrap_or(1).into());
        }
        let parts = [("starts", starts), ("stops", stops), ("strides", strides)];
        Ok(Some(parts.into_iter().map(|(name, list)| (name.to_owned(), Value::Array(list))).collect()))
    }
}
