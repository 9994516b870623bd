//! Containers that differ from the declaration, for commands that only read. Compares as the plan does.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use tokio::sync::mpsc;

use crate::{
    connect::Engine,
    images::{Image, Images},
    plan::{self, Wanted},
    spec::Spec,
};
use declaration::{ImageFrom, Pipeline, Service};
use diagnostics::Result;
use platform::{Container, Drifted};

impl Engine {
    /// For each service with containers, those that drifted. An error concerns that service's image only.
    /// Nothing is pulled or built, and each image is inspected once.
    ///
    /// For a declared build, the image with its name counts. Only `up` compares the build context, because
    /// only `up` needs the sources.
    pub(crate) async fn drifted(
        &self,
        pipeline: &Pipeline,
        observed: &[Container],
    ) -> BTreeMap<String, Result<Vec<Drifted>>> {
        // Reading sends no events.
        let (events, _unheard) = mpsc::unbounded_channel();
        let images = Images::new(self, pipeline, observed, &events);
        let mut of_one_image: Vec<Vec<&Service>> = Vec::new();
        let has_containers = |s: &&Service| observed.iter().any(|c| c.service == s.name);
        for service in pipeline.services.iter().filter(has_containers) {
            let shares = |others: &&mut Vec<&Service>| others.iter().any(|o| share(o, service));
            match of_one_image.iter_mut().find(shares) {
                Some(services) => services.push(service),
                None => of_one_image.push(vec![service]),
            }
        }
        let compared = of_one_image.iter().map(|services| async {
            let image = match services.first() {
                Some(service) if service.build.is_some() => self.local_image(&service.image).await,
                Some(service) => images.present(service).await,
                None => Ok(None),
            };
            let compare = |service: &&Service| {
                let image = image.as_ref().map_err(Clone::clone);
                let drifted = image.map(|i| of_service(pipeline, service, i.as_ref(), observed));
                (service.name.clone(), drifted)
            };
            services.iter().map(compare).collect::<Vec<_>>()
        });
        join_all(compared).await.into_iter().flatten().collect()
    }
}

/// Whether two services run from one image. A template's image depends on the service's volumes, so it is
/// never shared.
fn share(one: &Service, other: &Service) -> bool {
    let how = |s: &Service| (s.build.is_some(), s.image_from);
    let template = matches!(one.image_from, ImageFrom::Template(_));
    one.image == other.image && how(one) == how(other) && !template
}

fn of_service(
    pipeline: &Pipeline,
    service: &Service,
    image: Option<&Image>,
    observed: &[Container],
) -> Vec<Drifted> {
    let compare = |container: &Container| {
        let causes = match image {
            Some(image) => {
                let spec = Spec::new(pipeline, service, container.replica, image);
                plan::drift(&Wanted::of(&spec, image), container, &pipeline.secrets)
            }
            None => vec![without_image(service)],
        };
        (!causes.is_empty()).then(|| Drifted {
            container: container.name.clone(),
            causes,
        })
    };
    let own = observed.iter().filter(|c| c.service == service.name);
    own.filter_map(compare).collect()
}

/// The drift of a container whose image is missing. An image that Caravan makes is found by its content, so
/// that a missing one means a change; any other image was removed.
fn without_image(service: &Service) -> String {
    let fetched = service.build.is_some() || service.image_from == ImageFrom::Registry;
    match fetched {
        true => format!("its image {} no longer exists", service.image),
        false => "its image changed".to_owned(),
    }
}
