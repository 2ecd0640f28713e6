//! How a published model is built in Python: the expression for `--model`.

use super::Architecture;

/// Expressions that are told.
const MOST: usize = 40;

/// An expression that may build the model of a file, and why it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The expression.
    pub expression: String,
    /// Where it comes from, in a few words.
    pub told: String,
}

/// Expressions for the models that a file fits, the likeliest first.
pub fn candidates(architecture: &Architecture, root: &str) -> Vec<Candidate> {
    let Architecture { library, names, others, fit, python: None, .. } = architecture else { return Vec::new() };
    let fits = format!("{library}, {} of {} tensors fit", fit.fitting, fit.of);
    let own = names.iter().map(|name| (library, name, fits.clone()));
    let alike = others.iter().flat_map(|other| {
        let told = format!("{}, fits as well", other.library);
        other.names.iter().map(move |name| (&other.library, name, told.clone()))
    });
    let all = own.chain(alike).take(MOST);
    all.map(|(library, name, told)| Candidate { expression: call(library, name, root), told }).collect()
}

/// The call that builds a library's model of this name without weights; `root` is the class that it has.
fn call(library: &str, name: &str, root: &str) -> String {
    let inner = name.split_once('(').map(|(model, encoder)| (model, encoder.trim_end_matches(')')));
    match (library, inner) {
        // These would load weights of their backbones unless they are told not to.
        ("torchvision", _) if [".detection.", ".segmentation."].iter().any(|part| root.contains(part)) => {
            format!("torchvision.models.get_model('{name}', weights=None, weights_backbone=None)")
        }
        ("torchvision", _) => format!("torchvision.models.{name}()"),
        ("timm", _) => format!("timm.create_model('{name}')"),
        ("open_clip", _) => format!("open_clip.create_model('{name}')"),
        ("segmentation_models_pytorch", Some((model, encoder))) => {
            format!("segmentation_models_pytorch.{model}('{encoder}', encoder_weights=None)")
        }
        ("efficientnet_pytorch", _) => format!("efficientnet_pytorch.EfficientNet.from_name('{name}')"),
        ("facenet_pytorch", _) if name == "InceptionResnetV1" => {
            "facenet_pytorch.InceptionResnetV1(classify=True, num_classes=8631)".to_owned()
        }
        ("facenet_pytorch", _) => format!("facenet_pytorch.models.mtcnn.{name}(pretrained=False)"),
        _ => format!("{library}.{name}()"),
    }
}

#[cfg(test)]
mod tests {
    use super::call;

    #[test]
    fn each_library_has_its_way() {
        assert_eq!(
            call("torchvision", "resnet50", "torchvision.models.resnet.ResNet"),
            "torchvision.models.resnet50()"
        );
        let detection = call("torchvision", "ssd300_vgg16", "torchvision.models.detection.ssd.SSD");
        assert!(detection.ends_with("weights_backbone=None)"), "{detection}");
        assert_eq!(call("timm", "resnet50", ""), "timm.create_model('resnet50')");
        let unet = call("segmentation_models_pytorch", "Unet(resnet18)", "");
        assert_eq!(unet, "segmentation_models_pytorch.Unet('resnet18', encoder_weights=None)");
    }
}
