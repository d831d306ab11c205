//! Node ports: ports of this machine that lead to Services, opened and closed as Services come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::api::cluster_ip::cluster_ip;
use crate::api::node_port::{has_node_ports, node_ports};
use crate::app::services::NodePort;
use crate::base::clock::Clock;
use crate::controller::events::Recorder;
use crate::controller::{Informer, ObjectKey, resource_of};
use crate::net::{Protocol, PublishedPort, Switch};
use crate::pod::{Correlator, EventRecord, EventType};
use crate::store::{Store, WatchEvent, WatchKind};

/// After this time, ports that somebody else had are tried again.
const RETRY: Duration = Duration::from_secs(30);

/// A port of this machine.
type Port = (Protocol, u16);

/// Opens and closes node ports.
pub(super) struct NodePortKeeper {
    switch: Arc<Switch>,
    clock: Clock,
    recorder: Recorder,
    services: Informer,
    /// What each Service wants: its ports, and where they lead.
    wanted: BTreeMap<ObjectKey, BTreeMap<u16, Wish>>,
    open: BTreeMap<u16, Vec<Open>>,
    touched: BTreeSet<u16>,
    /// Decides which events are posted about Services of which a port is not open.
    troubled: BTreeMap<ObjectKey, Correlator>,
    retry_at: Option<Instant>,
}

/// Where node ports of one number lead, by protocol.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Wish {
    tcp: Option<SocketAddr>,
    udp: Option<SocketAddr>,
}

struct Open {
    port: Port,
    target: SocketAddr,
    published: PublishedPort,
}

impl NodePortKeeper {
    pub(super) fn new(store: &Store, clock: Clock, switch: Arc<Switch>, node: &str) -> Self {
        Self {
            switch,
            clock,
            recorder: Recorder::on_node(store.clone(), "kube-proxy", node),
            services: Informer::new(store, resource_of::<Service>()),
            wanted: BTreeMap::new(),
            open: BTreeMap::new(),
            touched: BTreeSet::new(),
            troubled: BTreeMap::new(),
            retry_at: None,
        }
    }

    /// The same with ports that are open already.
    pub(super) fn with_open(mut self, ports: Vec<NodePort>) -> Self {
        for NodePort { protocol, number, target, published, .. } in ports {
            let open = Open { port: (protocol, number), target, published };
            self.open.entry(number).or_default().push(open);
        }
        self
    }

    /// Follows the Services for as long as it is polled.
    pub(super) async fn run(mut self) {
        loop {
            self.catch_up().await;
            let retry_at = self.retry_at;
            let retry = async {
                match retry_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = self.services.next() => self.take_in(&event),
                () = retry => self.touched.extend(self.wanted.values().flat_map(BTreeMap::keys)),
            }
        }
    }

    fn take_in(&mut self, event: &WatchEvent) {
        let service = event.object.typed::<Service>().filter(|_| event.kind != WatchKind::Deleted);
        let wishes = service.as_deref().map(wishes).unwrap_or_default();
        let key = ObjectKey::of(&event.object);
        let before = match wishes.is_empty() {
            true => {
                self.troubled.remove(&key);
                self.wanted.remove(&key)
            }
            false => self.wanted.insert(key, wishes.clone()),
        };
        let before = before.unwrap_or_default();
        let changed = |number: &&u16| before.get(number) != wishes.get(number);
        let numbers: BTreeSet<&u16> = before.keys().chain(wishes.keys()).collect();
        self.touched.extend(numbers.into_iter().filter(changed));
    }

    /// Opens what is wanted and closes what is not.
    async fn catch_up(&mut self) {
        while let Some(event) = self.services.try_next() {
            self.take_in(&event);
        }
        self.retry_at = None;
        for number in std::mem::take(&mut self.touched) {
            let wanted =
                self.wanted.iter().filter_map(|(key, wishes)| Some((key.clone(), wishes.get(&number)?.clone())));
            let wanted: Vec<_> = wanted.collect();
            let is_wanted = |open: &Open| wanted.iter().any(|(_, wish)| wish.target(open.port.0) == Some(open.target));
            let all = self.open.remove(&number).unwrap_or_default();
            let (mut open, unwanted): (Vec<_>, Vec<_>) = all.into_iter().partition(is_wanted);
            for Open { published, .. } in unwanted {
                published.close().await;
            }
            for (key, wish) in wanted {
                for protocol in [Protocol::Tcp, Protocol::Udp] {
                    let Some(target) = wish.target(protocol) else { continue };
                    if open.iter().any(|open| open.port == (protocol, number)) {
                        continue;
                    }
                    match self.publish(protocol, number, target).await {
                        Ok(published) => open.push(published),
                        Err(error) => self.tell_of_failure(&key, &error),
                    }
                }
            }
            if !open.is_empty() {
                self.open.insert(number, open);
            }
        }
    }

    // Differs from Kubernetes: node ports are on 127.0.0.1 only, because the node is somebody's own machine.
    async fn publish(&self, protocol: Protocol, number: u16, target: SocketAddr) -> std::io::Result<Open> {
        let host = SocketAddr::from((Ipv4Addr::LOCALHOST, number));
        let published = self.switch.publish_virtual(protocol, target, host).await?;
        info!(%host, %target, "a node port is open");
        Ok(Open { port: (protocol, number), target, published })
    }

    /// Says at the Service that a port of it is not open. It is tried again.
    fn tell_of_failure(&mut self, key: &ObjectKey, error: &std::io::Error) {
        if self.retry_at.is_none() {
            self.retry_at = Some(Instant::now() + RETRY);
        }
        let Some(service) = self.services.get(&key.namespace, &key.name) else { return };
        let Some(service) = service.typed::<Service>() else { return };
        warn!(%error, service = %format!("{}/{}", key.namespace, key.name), "a node port is not open");
        let record = EventRecord {
            type_: EventType::Warning,
            reason: "NodePortUnavailable",
            message: error.to_string(),
            field_path: None,
        };
        let correlator = self.troubled.entry(key.clone()).or_insert_with(|| Correlator::new(&service.metadata));
        if let Some(event) = correlator.observe(record, self.clock.now()) {
            self.recorder.post(&*service, &event);
        }
    }
}

impl Wish {
    fn target(&self, protocol: Protocol) -> Option<SocketAddr> {
        match protocol {
            Protocol::Tcp => self.tcp,
            Protocol::Udp => self.udp,
        }
    }
}

/// The node ports of a Service, and where they lead.
fn wishes(service: &Service) -> BTreeMap<u16, Wish> {
    let mut wishes: BTreeMap<u16, Wish> = BTreeMap::new();
    let Some(ip) = cluster_ip(service).filter(|_| has_node_ports(service)) else { return wishes };
    for (port, node_port) in node_ports(service) {
        let target = SocketAddr::from((ip, u16::try_from(port.port).unwrap_or_default()));
        let wish = wishes.entry(node_port).or_default();
        match port.protocol.as_deref() {
            Some("UDP") => wish.udp = Some(target),
            Some("SCTP") => {}
            _ => wish.tcp = Some(target),
        }
    }
    wishes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::net::{Egress, VirtualPort};
    use k8s_openapi::api::core::v1::Event;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    /// A port that is free now, in the range or not: what is written into a Service directly, nobody checks.
    async fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
    }

    fn service(node_port: u16) -> Service {
        let yaml = format!(
            "{{metadata: {{name: web, namespace: ns, uid: u}}, spec: {{type: NodePort, clusterIP: 10.96.1.1, \
             ports: [{{port: 80, protocol: TCP, nodePort: {node_port}}}]}}}}"
        );
        serde_yaml::from_str(&yaml).unwrap()
    }

    fn keeper(store: &Store, switch: &Arc<Switch>) -> NodePortKeeper {
        let clock = Clock::starting_at(Timestamp::from_second(1_800_000_000).unwrap());
        NodePortKeeper::new(store, clock, Arc::clone(switch), "n")
    }

    #[tokio::test]
    async fn ports_open_and_close_with_their_services() {
        let (store, switch) = (Store::default(), Switch::new(Egress::Deny));
        let listener = switch.listen_on_node(8080, 4).unwrap();
        switch.set_services(vec![VirtualPort {
            ip: [10, 96, 1, 1].into(),
            protocol: Protocol::Tcp,
            port: 80,
            backends: vec![SocketAddr::new(switch.node_ip(), 8080)],
            affinity: None,
        }]);
        let mut keeper = keeper(&store, &switch);
        let (one, other) = (free_port().await, free_port().await);
        store.create(service(one)).unwrap();
        keeper.catch_up().await;
        let mut client = TcpStream::connect(("127.0.0.1", one)).await.unwrap();
        let mut served = listener.accept().await.unwrap();
        served.write_all(b"hello").await.unwrap();
        let mut hello = [0; 5];
        client.read_exact(&mut hello).await.unwrap();
        assert_eq!(&hello, b"hello");
        store
            .update::<Service>("ns", "web", |service| {
                service.spec.as_mut().unwrap().ports.as_mut().unwrap()[0].node_port = Some(other.into());
            })
            .unwrap();
        keeper.catch_up().await;
        assert!(TcpStream::connect(("127.0.0.1", other)).await.is_ok());
        assert!(TcpListener::bind(("127.0.0.1", one)).await.is_ok(), "the first is free again");
        store.delete::<Service>("ns", "web").unwrap();
        keeper.catch_up().await;
        assert!(TcpListener::bind(("127.0.0.1", other)).await.is_ok());
    }

    #[tokio::test]
    async fn a_port_that_somebody_has_is_told_and_tried_again() {
        let (store, switch) = (Store::default(), Switch::new(Egress::Deny));
        let mut keeper = keeper(&store, &switch);
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = taken.local_addr().unwrap().port();
        store.create(service(port)).unwrap();
        keeper.catch_up().await;
        let [event] = &store.list::<Event>("ns")[..] else { panic!("one event") };
        assert_eq!(event.reason.as_deref(), Some("NodePortUnavailable"));
        assert!(event.message.as_ref().unwrap().contains(&format!("127.0.0.1:{port}")), "{event:?}");
        assert!(keeper.retry_at.is_some());
        drop(taken);
        keeper.touched.insert(port);
        keeper.catch_up().await;
        assert!(TcpStream::connect(("127.0.0.1", port)).await.is_ok());
    }
}
