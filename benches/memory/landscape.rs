//! Vectors as embedding models make them: topics of unequal size, variations of each, a direction that
//! all share, and numbers that matter less the later they stand.

/// Numbers in a vector.
pub(crate) const WIDTH: usize = 1536;

/// A stream of numbers that is the same in every run (xorshift64*).
#[derive(Debug, Clone)]
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn from_seed(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From 0 to 1.
    #[allow(clippy::cast_precision_loss, reason = "24 bits are enough")]
    pub(crate) fn share(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u32 << 24) as f32
    }

    /// Adds something near a normal distribution, times `weights`, to each number: sums of bytes.
    #[allow(clippy::cast_precision_loss, reason = "a sum of four bytes")]
    fn stir(&mut self, vector: &mut [f32], weights: &[f32], strength: f32) {
        let mut place = 0;
        while place < vector.len() {
            let bits = self.next();
            let mut half = 0;
            while half < 2 && place < vector.len() {
                let part = (bits >> (32 * half)) as u32;
                let sum = (part & 255) + ((part >> 8) & 255) + ((part >> 16) & 255) + (part >> 24);
                // Mean 510, deviation 148.
                vector[place] += (sum as f32 - 510.0) / 148.0 * weights[place] * strength;
                place += 1;
                half += 1;
            }
        }
    }
}

/// Where the vectors lie.
#[derive(Debug)]
pub(crate) struct Landscape {
    topics: Vec<Vec<f32>>,
    weights: Vec<f32>,
}

impl Landscape {
    /// One topic for each two hundred vectors.
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    pub(crate) fn for_vectors(count: usize) -> Self {
        let weights: Vec<f32> =
            (0..WIDTH).map(|place| 1.0 / (1.0 + place as f32 / 48.0).sqrt()).collect();
        let mut numbers = Numbers::from_seed(7);
        let mut shared = vec![0.0; WIDTH];
        numbers.stir(&mut shared, &weights, 0.45);
        let topics = (0..(count / 200).clamp(20, 5_000))
            .map(|_| {
                let mut topic = shared.clone();
                numbers.stir(&mut topic, &weights, 0.75);
                topic
            })
            .collect();
        Self { topics, weights }
    }

    /// The vector of this number, of length one; the same number yields the same vector.
    pub(crate) fn vector(&self, number: u64) -> Vec<f32> {
        let mut numbers = Numbers::from_seed(number + 1_000);
        // Few topics are large and many are small.
        let share = numbers.share() * numbers.share();
        let place = (share * self.topics.len() as f32) as usize;
        let mut vector = self.topics[place.min(self.topics.len() - 1)].clone();
        numbers.stir(&mut vector, &self.weights, 0.7);
        let mut length = 0.0;
        for number in &vector {
            length += number * number;
        }
        let length = length.sqrt();
        for number in &mut vector {
            *number /= length;
        }
        vector
    }
}

/// The best of a stream, by score.
#[derive(Debug, Clone, Default)]
pub(crate) struct Best {
    found: Vec<(f32, u64)>,
}

impl Best {
    pub(crate) const MOST: usize = 10;

    pub(crate) fn offer(&mut self, score: f32, number: u64) {
        if self.found.len() == Self::MOST && self.found[Self::MOST - 1].0 >= score {
            return;
        }
        let place = self.found.partition_point(|(other, _)| *other >= score);
        self.found.insert(place, (score, number));
        self.found.truncate(Self::MOST);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (score, number) in &other.found {
            self.offer(*score, *number);
        }
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.found.iter().map(|(_, number)| *number)
    }
}

/// The cosine of two vectors of length one.
pub(crate) fn cosine(left: &[f32], right: &[f32]) -> f32 {
    // Written for a build without optimisation: four sums, no iterators.
    let (mut a, mut b, mut c, mut d) = (0.0, 0.0, 0.0, 0.0);
    let mut place = 0;
    while place < WIDTH {
        a += left[place] * right[place];
        b += left[place + 1] * right[place + 1];
        c += left[place + 2] * right[place + 2];
        d += left[place + 3] * right[place + 3];
        place += 4;
    }
    a + b + c + d
}
