//! Which part of several comes first, by what their names say.

use std::cmp::Ordering;

/// Words for the parts that projections are joined of, in the order that they usually have.
const ATTENTION: [&[&str]; 3] =
    [&["q", "wq", "query", "queries"], &["k", "wk", "key", "keys"], &["v", "wv", "value", "values"]];
/// The halves of a gated feed-forward. Which is first differs: only a name that has both says it.
const GATED: [&[&str]; 2] = [&["gate", "w1"], &["up", "w3"]];
/// Projections that hold q, k and v for each head, or for each group of heads, in turn (GPT-NeoX, Bloom, Falcon, Megatron,
/// InternLM2). In others q stands in front of k as a whole.
const BY_HEAD: [&str; 3] = ["query_key_value", "linear_qkv", "wqkv"];

/// A part of a name by which parts are told apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(u64),
    Role(usize),
}

/// The first number in a name: a layer's, nearly always.
pub(super) fn layer(name: &str) -> Option<u64> {
    name.split('.').find_map(|part| part.parse().ok())
}

/// Whether a projection of this name has its parts for each head in turn.
pub(super) fn is_by_head(whole: &str) -> bool {
    whole.split('.').any(|part| BY_HEAD.contains(&part))
}

/// Whether parts of these names are q, k and v, of which heads have each their own.
pub(super) fn are_heads(parts: &[&str]) -> bool {
    let is_one =
        |name: &&str| tokens(name).iter().any(|token| ATTENTION.iter().any(|words| words.contains(&token.as_str())));
    !parts.is_empty() && parts.iter().all(is_one)
}

/// The place of each part in the whole, counted from 0; `None` where the names do not say.
pub(super) fn places(parts: &[&str], whole: &str) -> Option<Vec<usize>> {
    let names: Vec<Vec<String>> = parts.iter().map(|name| tokens(name)).collect();
    let length = names.first()?.len();
    if names.iter().any(|name| name.len() != length) {
        return None;
    }
    let differing = (0..length).filter(|&at| names.iter().any(|name| name[at] != names[0][at]));
    let mut keys: Vec<Vec<Key>> = vec![Vec::new(); parts.len()];
    for at in differing {
        let column: Vec<&str> = names.iter().map(|name| name[at].as_str()).collect();
        for (key, one) in keys.iter_mut().zip(column_keys(&column, whole)?) {
            key.push(one);
        }
    }
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by(|&a, &b| keys[a].cmp(&keys[b]));
    // Two that have one key are not told apart.
    if order.windows(2).any(|pair| keys[pair[0]].cmp(&keys[pair[1]]) == Ordering::Equal) {
        return None;
    }
    let mut places = vec![0; parts.len()];
    order.into_iter().enumerate().for_each(|(place, part)| places[part] = place);
    Some(places)
}

fn column_keys(column: &[&str], whole: &str) -> Option<Vec<Key>> {
    let numbers: Option<Vec<Key>> = column.iter().map(|word| word.parse().ok().map(Key::Number)).collect();
    if numbers.is_some() {
        return numbers;
    }
    let roles = |group: &[&[&str]]| -> Option<Vec<usize>> {
        column.iter().map(|word| group.iter().position(|words| words.contains(word))).collect()
    };
    let (group, found): (&[&[&str]], Vec<usize>) = match (roles(&ATTENTION), roles(&GATED)) {
        (Some(found), _) => (&ATTENTION, found),
        (_, Some(found)) => (&GATED, found),
        _ => return None,
    };
    let said: Vec<Option<usize>> = group.iter().map(|words| place_in(whole, words)).collect();
    let by_whole: Option<Vec<Key>> = found.iter().map(|&role| said[role].map(Key::Role)).collect();
    match by_whole {
        Some(keys) => Some(keys),
        None if group.len() == ATTENTION.len() => Some(found.into_iter().map(Key::Role).collect()),
        None => None,
    }
}

/// Where the name of the whole has one of these words: `up` in `gate_up_proj`, `k` in `qkv`.
fn place_in(whole: &str, words: &[&str]) -> Option<usize> {
    for (at, token) in tokens(whole).iter().enumerate() {
        if words.contains(&token.as_str()) {
            return Some(at * 8);
        }
        let letters = token.strip_prefix('w').unwrap_or(token).to_ascii_lowercase();
        let is_joined = (2..=3).contains(&letters.len()) && letters.chars().all(|letter| "qkv".contains(letter));
        if is_joined && let Some(place) = words.first().and_then(|word| letters.find(word)) {
            return Some(at * 8 + place);
        }
    }
    None
}

/// The words and numbers of a name.
fn tokens(name: &str) -> Vec<String> {
    name.split(['.', '_']).filter(|token| !token.is_empty()).map(str::to_ascii_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_roles_say_which_is_first() {
        assert_eq!(places(&["e.10.w", "e.2.w", "e.0.w"], "all"), Some(vec![2, 1, 0]));
        assert_eq!(places(&["a.v_proj.w", "a.q_proj.w", "a.k_proj.w"], "a.in_proj.w"), Some(vec![2, 0, 1]));
        assert_eq!(places(&["a.up_proj", "a.gate_proj"], "a.gate_up_proj"), Some(vec![1, 0]));
        assert_eq!(places(&["a.up_proj", "a.gate_proj"], "a.up_gate_proj"), Some(vec![0, 1]));
        assert_eq!(places(&["a.value", "a.key"], "a.vk"), Some(vec![0, 1]));
        // GEGLU has its gate behind: without a name that says so it is not known.
        assert_eq!(places(&["a.up_proj", "a.gate_proj"], "a.fc1"), None);
        assert_eq!(places(&["a.left", "a.right"], "a.both"), None);
        let experts = ["e.1.gate.w", "e.0.up.w", "e.1.up.w", "e.0.gate.w"];
        assert_eq!(places(&experts, "e.gate_up.w"), Some(vec![2, 1, 3, 0]));
    }

    #[test]
    fn some_projections_have_their_parts_by_head() {
        assert!(is_by_head("h.0.attention.query_key_value.weight") && !is_by_head("h.0.attn.qkv.weight"));
        assert!(are_heads(&["a.q_proj.weight", "a.wk.weight"]) && !are_heads(&["a.gate_proj.weight"]));
    }
}
