//! Labelled images to train on and to hold out, from CIFAR-10 or from one set per class.

use anyhow::{Result, ensure};
use egsde_data::cifar10::{CLASSES, Cifar10, LabelledImages, class_label};
use egsde_data::image_set::ImageSet;

/// Images with one label each.
#[derive(Debug, Clone)]
pub struct Labelled {
    /// The images.
    pub images: ImageSet,
    /// Labels in `0..classes`.
    pub labels: Vec<i64>,
}

/// What a network is trained and evaluated on.
#[derive(Debug, Clone)]
pub struct TrainingData {
    /// What batches are drawn from.
    pub train: Labelled,
    /// What no batch sees.
    pub held_out: Labelled,
}

/// The label that each CIFAR-10 class has in training; none for classes that take no part.
fn training_labels(classes: &[String]) -> Result<[Option<i64>; CLASSES.len()]> {
    let mut labels = [None; CLASSES.len()];
    for (label, name) in classes.iter().enumerate() {
        labels[usize::from(class_label(name)?)] = Some(label as i64);
    }
    Ok(labels)
}

impl Labelled {
    fn empty(side: usize) -> Self {
        Self {
            images: ImageSet::empty(side),
            labels: Vec::new(),
        }
    }

    /// The images of the given classes, labelled by their order.
    fn select_classes(data: &LabelledImages, classes: &[String]) -> Result<Self> {
        let training_labels = training_labels(classes)?;
        let (mut indices, mut labels) = (Vec::new(), Vec::new());
        for (index, class) in data.labels.iter().enumerate() {
            if let Some(label) = training_labels[usize::from(*class)] {
                indices.push(index);
                labels.push(label);
            }
        }
        Ok(Self {
            images: data.images.select(&indices),
            labels,
        })
    }

    /// Appends images of one class.
    fn append(&mut self, images: ImageSet, label: i64) {
        self.labels.extend(std::iter::repeat_n(label, images.len()));
        self.images.append(images);
    }
}

impl TrainingData {
    /// The training and test images of CIFAR-10's classes of these names.
    ///
    /// # Errors
    /// A name that is no class.
    pub fn from_cifar10(data: &Cifar10, classes: &[String]) -> Result<Self> {
        Ok(Self {
            train: Labelled::select_classes(&data.train, classes)?,
            held_out: Labelled::select_classes(&data.test, classes)?,
        })
    }

    /// One set of images per class, in the order of the labels. Of each, the fraction `held_out` is
    /// held out, evenly over the set, and at least one image.
    ///
    /// # Errors
    /// A set of fewer than two images.
    pub fn from_sets(sets: Vec<ImageSet>, held_out: f64) -> Result<Self> {
        let side = sets.first().map_or(0, |set| set.side);
        let mut data = Self {
            train: Labelled::empty(side),
            held_out: Labelled::empty(side),
        };
        for (label, set) in sets.into_iter().enumerate() {
            let count = set.len();
            ensure!(
                count >= 2,
                "class {label} has {count} pictures: one is held out, so it needs at least 2"
            );
            let held = ((count as f64 * held_out).round() as usize).clamp(1, count - 1);
            // The i-th held-out image lies at the middle of the i-th of equal parts.
            let chosen: Vec<usize> = (0..held)
                .map(|i| (2 * i + 1) * count / (2 * held))
                .collect();
            let others: Vec<usize> = (0..count).filter(|i| !chosen.contains(i)).collect();
            data.train.append(set.select(&others), label as i64);
            data.held_out.append(set.select(&chosen), label as i64);
        }
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(count: usize) -> ImageSet {
        ImageSet {
            names: (0..count).map(|i| format!("{i}")).collect(),
            pixels: (0..count).flat_map(|i| [i as u8; 12]).collect(),
            side: 2,
        }
    }

    #[test]
    fn a_part_of_each_class_is_held_out_evenly() {
        let data = TrainingData::from_sets(vec![set(20), set(3)], 0.1).unwrap();
        assert_eq!(data.held_out.images.names, ["5", "15", "1"]);
        assert_eq!(data.held_out.labels, [0, 0, 1]);
        assert_eq!(data.train.images.len(), 18 + 2);
        assert_eq!(data.train.labels.iter().sum::<i64>(), 2);
        assert!(!data.train.images.names[..18].contains(&"5".into()));
        assert!(TrainingData::from_sets(vec![set(1)], 0.1).is_err());
    }
}
