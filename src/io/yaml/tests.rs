//! What PyYAML makes of the same files; every expectation here was taken from PyYAML 6.0.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Node {
    match parse("f.yml", text) {
        Ok((node, problems)) => {
            assert!(problems.is_empty(), "{problems}");
            node
        }
        Err(problems) => panic!("{problems}"),
    }
}

fn refused(text: &str) -> String {
    match parse("f.yml", text) {
        Ok((node, _)) => panic!("read as {node:?}"),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn a_bare_word_means_what_it_means_to_yaml_1_1() {
    let texts = [
        "y", "n", "oN", "1e3", "0o17", "089", "1.2.3.4", "pg-1", "1:99", "+x", "+.5", ".",
    ];
    let texts = texts.map(|word| (word, Value::Text(word.to_owned())));
    let others = [
        ("on", Value::Bool(true)),
        ("Off", Value::Bool(false)),
        ("yes", Value::Bool(true)),
        ("NO", Value::Bool(false)),
        ("~", Value::Null),
        ("", Value::Null),
        ("0644", Value::Int(0o644)),
        ("-0x1F", Value::Int(-31)),
        ("0b11", Value::Int(3)),
        ("1_000", Value::Int(1000)),
        ("1:30", Value::Int(90)),
        ("0", Value::Int(0)),
        ("0_", Value::Int(0)),
        ("-9223372036854775808", Value::Int(i64::MIN)),
        (
            "9223372036854775808",
            Value::Text("9223372036854775808".to_owned()),
        ),
        ("1.5", Value::Float(1.5)),
        ("1.", Value::Float(1.0)),
        (".5", Value::Float(0.5)),
        ("-1.5e+3", Value::Float(-1500.0)),
        (".inf", Value::Float(f64::INFINITY)),
    ];
    for (word, meant) in texts.into_iter().chain(others) {
        let node = read(&format!("key: {word}\n"));
        assert_eq!(
            node.get("key").map(|node| &node.value),
            Some(&meant),
            "{word:?}"
        );
    }
}

#[test]
fn quotation_marks_and_the_tag_str_make_a_text() {
    for text in ["\"on\"", "'on'", "!!str on", "! on", "|-\n  on", ">-\n  on"] {
        assert_eq!(read(text).value, Value::Text("on".to_owned()), "{text:?}");
    }
}

#[test]
fn values_and_keys_know_where_they_stand() {
    let node = read("# comment\na: 1\nb:\n  - x\n  - {c: y}\n");
    let list = node.get("b").unwrap();
    let Value::List(items) = &list.value else {
        panic!("{list:?}");
    };
    let inner = &items[1];
    assert_eq!((list.line, list.column), (4, 3));
    assert_eq!((inner.line, inner.column), (5, 5));
    assert_eq!(
        inner.get("c").map(|node| (node.line, node.column)),
        Some((5, 9))
    );
    assert_eq!(node.entries()[1].0.line, 3);
}

#[test]
fn anchors_repeat_what_they_stand_at() {
    let node = read("a: &one {x: 1}\nb: *one\n");
    assert_eq!(format!("{node:?}"), r#"{"a": {"x": 1}, "b": {"x": 1}}"#);
    assert_eq!(
        node.get("b").map(|node| node.line),
        Some(1),
        "where it was written"
    );
}

#[test]
fn merge_keys_fill_in_what_a_map_does_not_say_itself() {
    let node = read(
        "base: &b {x: 1, y: 2}\nmore: &m {y: 3, z: 4}\na: {x: 9, <<: *b}\nl: {<<: [*b, *m]}\n",
    );
    assert_eq!(
        format!("{:?} {:?}", node.get("a"), node.get("l")),
        r#"Some({"x": 9, "y": 2}) Some({"z": 4, "x": 1, "y": 2})"#
    );
    assert_eq!(
        read("\"<<\": 1").entries()[0].0.text,
        "<<",
        "quoted, it is a key"
    );
}

#[test]
fn of_a_key_that_stands_twice_the_last_one_counts_with_a_warning() {
    let (node, problems) = parse("f.yml", "a:\n  b: 1\n  c: 2\n  b: 3\n").unwrap();
    assert_eq!(format!("{node:?}"), r#"{"a": {"b": 3, "c": 2}}"#);
    assert_eq!(
        problems.to_string(),
        "f.yml:4: warning: a.b: stands in line 2 too; this one counts; leave one of them out"
    );
}

#[test]
fn what_is_no_yaml_is_refused_with_its_line_and_what_to_do() {
    let cases = [
        (
            "a: 1\nbind: *:5000\n",
            "f.yml:2: this is no YAML: while parsing node, found unknown anchor (column 7); \
             a value that begins with * or & needs quotation marks (\"*:5000\")",
        ),
        (
            "a: 1\n---\nb: 2\n",
            "f.yml:2: a second document begins here; leave out the line ---",
        ),
        (
            "a: 1\nb: !secret x\n",
            "f.yml:2: the value is nothing the tag !secret could be; leave the tag out",
        ),
        (
            "a: !!python/object:os.system [x]\n",
            "f.yml:1: the tag !!python/object:os.system has no meaning here; leave it out",
        ),
        (
            "a: &x [*x]\n",
            "f.yml:1: this alias stands inside of what it repeats",
        ),
        (
            "a: 1\nb:\n  <<: 3\n",
            "f.yml:3: << merges maps, and this is none; write << : *anchor",
        ),
        (
            "a: 1\n[x]: 2\n",
            "f.yml:2: this is no key; write a word before the colon",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(refused(text), message, "{text:?}");
    }
    let tab = refused("a:\n\tb: 1\n");
    assert!(tab.starts_with("f.yml:2: this is no YAML: "), "{tab}");
    assert!(tab.ends_with("; indent with spaces"), "{tab}");
}

#[test]
fn a_file_of_any_kind_is_read_in_bounds() {
    let deep = "[".repeat(100) + &"]".repeat(100);
    assert!(
        refused(&deep).contains("more than 64 deep"),
        "{}",
        refused(&deep)
    );
    let long = " ".repeat(LONGEST + 1);
    assert_eq!(
        refused(&long),
        "f.yml:1: the file is longer than 1048576 bytes; is it the right one?"
    );
    let mut laughs = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..9 {
        let below = format!("*a{},", level - 1).repeat(10);
        laughs.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    assert!(refused(&laughs).contains("more than 100000 values"));
    let mut chain = "a0: &a0 [x]\n".to_owned();
    for level in 1..100 {
        chain.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert!(refused(&chain).contains("more than 64 deep"));
}

#[test]
fn an_empty_file_is_nothing() {
    for text in ["", "\n", "# only a comment\n", "---\n", "\u{feff}"] {
        assert_eq!(read(text).value, Value::Null, "{text:?}");
    }
    assert_eq!(read("\u{feff}a: 1\r\nb: 2\r\n").entries().len(), 2);
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[ -~\n\t]{0,80}|\\PC{0,60}") {
        let _ = parse("f.yml", &text);
    }

    #[test]
    fn no_arrangement_of_yamls_own_signs_makes_the_reader_panic(
        signs in prop::collection::vec(
            prop::sample::select(vec![
                "a", ": ", "- ", "\n", "  ", "[", "]", "{", "}", ",", "&x ", "*x", "<<", "? ", "|\n",
                ">", "\"", "'", "#", "!!int ", "!", "---\n", "...\n", "%YAML 1.1\n", "0", "~",
            ]),
            0..40,
        )
    ) {
        let _ = parse("f.yml", &signs.concat());
    }
}
