//! The short run of fuzz targets on stable Rust: every seed as it is, then a fixed number of
//! mutations of seeds from a fixed start, so that a run is the same everywhere and never flaky.
//! Not here: the targets (`gateway/src/fuzz`, `server/tests/fuzz`), and long runs guided by coverage
//! (`fuzz_targets`).

/// Bytes of the longest input.
const INPUT_BYTES_MAX: usize = 4_096;
/// Changes made to one seed at the most.
const CHANGES_MAX: u64 = 6;
/// Bytes that parsers like to trip over.
const BYTES: &[u8] = b"\0\x01\t\n\r \"#%&'+,-./0159:;=?@AEZ[\\]_aeuz{}~\x7f\x80\xbf\xc0\xed\xff";
/// How many times more mutations than CI makes: a person's longer run without cargo-fuzz.
const TIMES_VARIABLE: &str = "FUZZ_TIMES";

/// Runs `target` on the seeds of `fuzz/seeds/<name>.dict` and on `mutations` changed ones. A panic of
/// the target is a finding: its input is printed as a line for the seeds.
pub fn run(name: &str, mutations: u64, target: impl Fn(&[u8])) {
    let seeds = seeds(name);
    assert!(!seeds.is_empty(), "{name} has no seeds");
    for seed in &seeds {
        observed(name, seed, &target);
    }
    let times = std::env::var(TIMES_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let start = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut dice = Dice(start);
    for _ in 0..mutations * times {
        let input = dice.mutated(&seeds);
        observed(name, &input, &target);
    }
}

fn observed(name: &str, input: &[u8], target: impl Fn(&[u8])) {
    let _report = Report { name, input };
    target(input);
}

/// Tells the input of a target that panics.
struct Report<'r> {
    name: &'r str,
    input: &'r [u8],
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { name, input } = self;
            eprintln!("{name} failed on this; add the line to fuzz/seeds/{name}.dict:");
            eprintln!("\"{}\"", written(input));
        }
    }
}

/// The seeds of a target: a dictionary as libFuzzer reads it (`-dict=`), an entry in quotes a line.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let path = format!("{}/../fuzz/seeds/{name}.dict", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect(&path);
    let entries = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    entries
        .map(|line| {
            let quoted = line.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            unescaped(quoted.unwrap_or_else(|| panic!("{path}: no entry: {line}")))
        })
        .collect()
}

/// `\\`, `\"` and `\xNN` are what libFuzzer knows; everything else stands for itself.
fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        if let Some(digits) = rest.strip_prefix(b"x") {
            let digits = std::str::from_utf8(&digits[..2]).expect("two digits after \\x");
            out.push(u8::from_str_radix(digits, 16).expect("two digits after \\x"));
            rest = &rest[3..];
        } else {
            let (&escaped, after) = rest.split_first().expect("something after a backslash");
            assert!(matches!(escaped, b'\\' | b'"'), "an unknown escape in {text}");
            out.push(escaped);
            rest = after;
        }
    }
    out
}

fn written(input: &[u8]) -> String {
    let escaped = |&byte: &u8| match byte {
        b'"' | b'\\' => format!("\\{}", char::from(byte)),
        0x20..=0x7e => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    input.iter().map(escaped).collect()
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to choose where to cut.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if there is none.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % (end.max(1) as u64)).unwrap_or(0)
    }

    fn mutated(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.roll() % CHANGES_MAX {
            self.change(&mut input, seeds);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let end = input.len().min(at + 1 + self.below(8));
        match self.roll() % 9 {
            0 => {
                let byte = BYTES[self.below(BYTES.len())];
                input.insert(at, byte);
            }
            1 if at < input.len() => input[at] = BYTES[self.below(BYTES.len())],
            2 if at < input.len() => input[at] ^= 1 << self.below(8),
            3 => drop(input.drain(at..end)),
            4 => {
                let part = input[at..end].to_vec();
                input.splice(at..at, part);
            }
            5 if at < input.len() => {
                let run = vec![input[at]; 1 + self.below(64)];
                input.splice(at..at, run);
            }
            6 => input.truncate(at),
            7 => {
                // A part of another seed in place of a part of this one.
                let other = &seeds[self.below(seeds.len())];
                let from = self.below(other.len() + 1);
                let to = from + self.below(other.len() - from + 1);
                input.splice(at..end, other[from..to].iter().copied());
            }
            _ => {
                let other = &seeds[self.below(seeds.len())];
                input.splice(at..at, other.iter().copied());
            }
        }
    }
}
