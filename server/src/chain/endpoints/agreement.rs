//! Which endpoints of one chain have the same blocks: the heights at which they are compared, and the
//! vote on those that differ. Pure. Not here: asking them.

use super::watchdog::Seen;

/// How an endpoint stands with the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It contradicts nobody, or most are with it. So is one that was never compared.
    Trusted,
    /// It and others contradict each other, and neither side has most.
    Tied,
    /// Most are against it. It has no vote until it agrees with the others again.
    Outvoted,
}

/// What two endpoints have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// They were not compared.
    Unknown,
    /// The same block at this height.
    Same(u64),
    /// Different blocks at this height.
    Different(u64),
}

/// The endpoints, by number.
#[derive(Debug, Clone)]
pub struct Agreement {
    standings: Vec<Standing>,
    /// Whom each contradicts, and where, when it is not trusted.
    contradicted: Vec<Option<(usize, u64)>>,
    /// Of the newest comparison.
    relations: Vec<Vec<Relation>>,
}

impl Agreement {
    /// Endpoints of which nothing is known.
    pub fn new(count: usize) -> Self {
        Self {
            standings: vec![Standing::Trusted; count],
            contradicted: vec![None; count],
            relations: vec![vec![Relation::Unknown; count]; count],
        }
    }

    /// The heights at which endpoints are compared, and who can answer for each: `depth` blocks below
    /// every head, for those whose head is so far above it; and the lowest height that those that know
    /// one call irreversible. Of each head there is one such height: as many as there are endpoints.
    pub fn questions(&self, heads: &[Option<Seen>], depth: u64) -> Vec<(u64, Vec<usize>)> {
        let deep = |seen: &Seen| seen.height.saturating_sub(depth);
        let mut heights: Vec<u64> = heads.iter().flatten().map(deep).collect();
        let finalized = |seen: &Seen| seen.finalized_height;
        heights.extend(heads.iter().flatten().filter_map(finalized).min());
        heights.sort_unstable();
        heights.dedup();
        let asked = |height: u64| -> Vec<usize> {
            let answers = |seen: &Seen| height <= deep(seen) || Some(height) <= finalized(seen);
            let can = |n: &usize| heads[*n].as_ref().is_some_and(answers);
            (0..heads.len()).filter(can).collect()
        };
        let all = heights.into_iter().map(|height| (height, asked(height)));
        all.filter(|(_, asked)| asked.len() > 1).collect()
    }

    /// Decides how all stand, from the hash that each gave for each height. Whoever was not compared
    /// stands as before: a contradiction is over when it is seen to be.
    pub fn judge(&mut self, answers: &[(u64, Vec<Option<String>>)]) {
        let count = self.standings.len();
        for a in 0..count {
            for b in 0..count {
                self.relations[a][b] =
                    if a == b { Relation::Unknown } else { related(answers, a, b) };
            }
        }
        let votes: Vec<bool> = self.standings.iter().map(|s| *s != Standing::Outvoted).collect();
        let before = self.standings.clone();
        let voters = || (0..count).filter(|n| votes[*n] && self.is_compared(*n, &votes));
        let all = voters().count();
        let support = |n: usize| 1 + voters().filter(|other| self.agrees(n, *other)).count();
        let mut decided = before.clone();
        for n in voters() {
            let most_against = voters().filter(|other| self.differs(n, *other)).map(support).max();
            decided[n] = match most_against {
                None => Standing::Trusted,
                Some(against) if support(n) * 2 > all && support(n) > against => Standing::Trusted,
                Some(against) if against * 2 > all && against > support(n) => Standing::Outvoted,
                Some(_) => Standing::Tied,
            };
        }
        for n in (0..count).filter(|n| !votes[*n]) {
            let trusted = || (0..count).filter(|o| votes[*o] && decided[*o] == Standing::Trusted);
            let back = trusted().any(|other| self.agrees(n, other))
                && !trusted().any(|other| self.differs(n, other));
            if back {
                decided[n] = Standing::Trusted;
            }
        }
        for (n, standing) in decided.iter().enumerate() {
            let against = (0..count).find_map(|other| match self.relations[n][other] {
                Relation::Different(height) => Some((other, height)),
                _ => None,
            });
            self.contradicted[n] = match standing {
                Standing::Trusted => None,
                _ => against.or(self.contradicted[n]),
            };
        }
        self.standings = decided;
    }

    /// Holds a contradiction against an endpoint that was known before this process began.
    pub fn hold_against(&mut self, n: usize) {
        self.standings[n] = Standing::Tied;
    }

    /// Whether nothing is held against an endpoint.
    pub fn is_trusted(&self, n: usize) -> bool {
        self.standings[n] == Standing::Trusted
    }

    /// Of an endpoint that is not trusted: which other has another block, and at which height.
    pub fn contradicted(&self, n: usize) -> Option<(usize, u64)> {
        self.contradicted[n]
    }

    /// Whether the newest comparison found the same block in both above `height`.
    pub fn agree_above(&self, a: usize, b: usize, height: u64) -> bool {
        matches!(self.relations[a][b], Relation::Same(at) if at > height)
    }

    fn is_compared(&self, n: usize, votes: &[bool]) -> bool {
        self.relations[n].iter().zip(votes).any(|(one, votes)| *votes && *one != Relation::Unknown)
    }

    fn agrees(&self, a: usize, b: usize) -> bool {
        matches!(self.relations[a][b], Relation::Same(_))
    }

    fn differs(&self, a: usize, b: usize) -> bool {
        matches!(self.relations[a][b], Relation::Different(_))
    }
}

/// Any height at which they differ decides; else the highest at which both answered.
fn related(answers: &[(u64, Vec<Option<String>>)], a: usize, b: usize) -> Relation {
    let mut relation = Relation::Unknown;
    for (height, hashes) in answers {
        let (Some(one), Some(other)) = (&hashes[a], &hashes[b]) else { continue };
        if one != other {
            return Relation::Different(*height);
        }
        relation = match relation {
            Relation::Same(highest) => Relation::Same(highest.max(*height)),
            _ => Relation::Same(*height),
        };
    }
    relation
}
