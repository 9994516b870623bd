//! What is there and is not as declared, for those who only look: the plan's own comparison.

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
    /// Of each service that has containers, those that drifted; the error is of that service's image
    /// alone. Nothing is fetched or made, and Docker is asked for each image once.
    ///
    /// Of a declared build it is the image of its name that counts: whether its sources were edited
    /// since is for `up` to see, where they are.
    pub async fn drifted(
        &self,
        pipeline: &Pipeline,
        observed: &[Container],
    ) -> BTreeMap<String, Result<Vec<Drifted>>> {
        // Looking has no events.
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
        let looked = of_one_image.iter().map(|services| async {
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
        join_all(looked).await.into_iter().flatten().collect()
    }
}

/// Whether two services run from one image. What a template stands for goes by the service's volumes.
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

/// What Caravan makes itself has another name when it is another; all else was here once.
fn without_image(service: &Service) -> String {
    let fetched = service.build.is_some() || service.image_from == ImageFrom::Registry;
    match fetched {
        true => format!("its image {} is not here any more", service.image),
        false => "its image changed".to_owned(),
    }
}
