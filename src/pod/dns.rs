//! Names: the pod's hostname and domain, and the content of `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`.
//! Source of the rules: kubelet v1.36 `GeneratePodHostNameAndDomain`, `managedHostsFileContent`, `dns.Configurer`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use k8s_openapi::api::core::v1::{HostAlias, Pod, PodDNSConfig, PodSpec};

/// Longest hostname: a DNS label, and what the kernel takes less one.
const MAX_HOSTNAME: usize = 63;
/// Longest name the kernel takes as hostname.
pub const MAX_KERNEL_HOSTNAME: usize = 64;
/// Most name servers in a resolv.conf.
const MAX_NAMESERVERS: usize = 3;
/// Most search domains.
const MAX_SEARCHES: usize = 32;
/// Longest search line, with spaces.
const MAX_SEARCH_CHARS: usize = 2048;
/// `ndots` where it is not set.
const DEFAULT_NDOTS: usize = 1;
/// The most that resolvers take `ndots` for.
const MAX_NDOTS: usize = 15;

/// The names of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodNames {
    /// What `hostname` says inside, and what `HOSTNAME` holds.
    pub hostname: String,
    /// Its short name in `/etc/hosts`.
    pub short: String,
    /// `<subdomain>.<namespace>.svc.<cluster domain>`; `None` without a subdomain.
    pub domain: Option<String>,
}

/// The fully qualified name is too long for a hostname: the sandbox cannot be created.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to construct FQDN from pod hostname and cluster domain, FQDN {fqdn} is too long ({max} characters is the max, {length} characters requested)", max = MAX_KERNEL_HOSTNAME, length = fqdn.len())]
pub struct HostnameTooLong {
    fqdn: String,
}

/// A resolver configuration: the cluster's, the host's, or the result for a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// `nameserver` lines.
    pub nameservers: Vec<String>,
    /// The `search` line.
    pub searches: Vec<String>,
    /// The `options` line.
    pub options: Vec<String>,
}

/// The hostname and domain of a pod. The name is `spec.hostname`, else the pod's name cut to 63 characters;
/// `hostnameOverride` comes first and goes without a domain.
///
/// # Errors
/// With `setHostnameAsFQDN`, when the full name does not fit.
pub fn names(pod: &Pod, cluster_domain: &str) -> Result<PodNames, HostnameTooLong> {
    let spec = pod.spec.as_ref();
    let nonempty = |text: Option<&String>| text.filter(|text| !text.is_empty()).cloned();
    if let Some(hostname) = nonempty(spec.and_then(|spec| spec.hostname_override.as_ref())) {
        return Ok(PodNames { short: hostname.clone(), hostname, domain: None });
    }
    let short = nonempty(spec.and_then(|spec| spec.hostname.as_ref()))
        .unwrap_or_else(|| truncated(pod.metadata.name.as_deref().unwrap_or("")));
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let domain = nonempty(spec.and_then(|spec| spec.subdomain.as_ref()))
        .map(|subdomain| format!("{subdomain}.{namespace}.svc.{cluster_domain}"));
    let as_fqdn = spec.and_then(|spec| spec.set_hostname_as_fqdn) == Some(true);
    let hostname = match &domain {
        Some(domain) if as_fqdn => format!("{short}.{domain}"),
        _ => short.clone(),
    };
    if hostname.len() > MAX_KERNEL_HOSTNAME {
        return Err(HostnameTooLong { fqdn: hostname });
    }
    Ok(PodNames { hostname, short, domain })
}

fn truncated(name: &str) -> String {
    let cut: String = name.chars().take(MAX_HOSTNAME).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

/// The content of `/etc/hostname`.
pub fn hostname_file(names: &PodNames) -> String {
    format!("{}\n", names.hostname)
}

/// The content of `/etc/hosts` of a pod with its own network.
pub fn hosts_file(pod: &Pod, names: &PodNames, pod_ips: &[String]) -> String {
    let mut file = String::from(
        "# Kubernetes-managed hosts file.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    for ip in pod_ips {
        let _ = match &names.domain {
            Some(domain) => writeln!(file, "{ip}\t{short}.{domain}\t{short}", short = names.short),
            None => writeln!(file, "{ip}\t{}", names.short),
        };
    }
    file.push_str(&alias_lines(pod));
    file
}

/// The content of `/etc/hosts` of a pod on the host's network: the node's file and the aliases.
pub fn host_network_hosts_file(pod: &Pod, node_file: &str) -> String {
    format!("# Kubernetes-managed hosts file (host network).\n{node_file}{}", alias_lines(pod))
}

fn alias_lines(pod: &Pod) -> String {
    let aliases: &[HostAlias] = pod.spec.as_ref().and_then(|spec| spec.host_aliases.as_deref()).unwrap_or(&[]);
    if aliases.is_empty() {
        return String::new();
    }
    let mut lines = String::from("\n# Entries added by HostAliases.\n");
    for alias in aliases {
        let _ = writeln!(lines, "{}\t{}", alias.ip, alias.hostnames.as_deref().unwrap_or(&[]).join("\t"));
    }
    lines
}

/// The resolver configuration of a pod. `cluster` holds the addresses of the cluster's DNS, `host` the node's own
/// configuration.
pub fn resolv_conf(pod: &Pod, cluster_dns: &[String], cluster_domain: &str, host: &ResolvConf) -> ResolvConf {
    let spec = pod.spec.as_ref();
    let policy = spec.and_then(|spec| spec.dns_policy.as_deref()).unwrap_or("ClusterFirst");
    let host_network = spec.and_then(|spec| spec.host_network) == Some(true);
    let mut conf = match policy {
        "None" => ResolvConf::default(),
        "ClusterFirstWithHostNet" => cluster_conf(pod, cluster_dns, cluster_domain, host),
        "ClusterFirst" if !host_network => cluster_conf(pod, cluster_dns, cluster_domain, host),
        _ => host.clone(),
    };
    if let Some(extra) = spec.and_then(|spec: &PodSpec| spec.dns_config.as_ref()) {
        append(&mut conf, extra);
    }
    limit(&mut conf);
    conf
}

fn cluster_conf(pod: &Pod, cluster_dns: &[String], cluster_domain: &str, host: &ResolvConf) -> ResolvConf {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let own = [format!("{namespace}.svc.{cluster_domain}"), format!("svc.{cluster_domain}"), cluster_domain.to_owned()];
    ResolvConf {
        nameservers: cluster_dns.to_vec(),
        searches: unique(own.into_iter().chain(host.searches.iter().cloned())),
        options: vec!["ndots:5".into()],
    }
}

/// Adds `dnsConfig`: lists grow without duplicates, an option replaces the one of its name.
fn append(conf: &mut ResolvConf, extra: &PodDNSConfig) {
    conf.nameservers = unique(conf.nameservers.drain(..).chain(extra.nameservers.iter().flatten().cloned()));
    conf.searches = unique(conf.searches.drain(..).chain(extra.searches.iter().flatten().cloned()));
    for option in extra.options.iter().flatten() {
        let Some(name) = option.name.as_deref() else { continue };
        conf.options.retain(|known| known.split(':').next() != Some(name));
        conf.options.push(match option.value.as_deref().filter(|value| !value.is_empty()) {
            Some(value) => format!("{name}:{value}"),
            None => name.to_owned(),
        });
    }
}

fn unique(items: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    items.filter(|item| seen.insert(item.clone())).collect()
}

/// Cuts what resolvers would not read.
fn limit(conf: &mut ResolvConf) {
    conf.nameservers.truncate(MAX_NAMESERVERS);
    conf.searches.truncate(MAX_SEARCHES);
    while conf.searches.join(" ").len() > MAX_SEARCH_CHARS {
        conf.searches.pop();
    }
}

impl ResolvConf {
    /// Reads a resolv.conf; lines it does not know are passed over, the last `search` line counts.
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', ';'])) {
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => conf.nameservers.extend(words.next()),
                Some("search") => conf.searches = words.collect(),
                Some("options") => conf.options = words.collect(),
                _ => {}
            }
        }
        conf
    }

    /// How many dots a name has that is tried as it is first.
    pub fn ndots(&self) -> usize {
        let value = self.options.iter().rev().find_map(|option| option.strip_prefix("ndots:"));
        value.and_then(|value| value.parse::<usize>().ok()).unwrap_or(DEFAULT_NDOTS).min(MAX_NDOTS)
    }
}

impl std::fmt::Display for ResolvConf {
    /// The content of the file.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.searches.is_empty() {
            writeln!(formatter, "search {}", self.searches.join(" "))?;
        }
        for nameserver in &self.nameservers {
            writeln!(formatter, "nameserver {nameserver}")?;
        }
        if !self.options.is_empty() {
            writeln!(formatter, "options {}", self.options.join(" "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, spec: &str) -> Pod {
        serde_yaml::from_str(&format!("{{metadata: {{name: {name}, namespace: ns}}, spec: {spec}}}")).unwrap()
    }

    #[test]
    fn hostname_and_domain_follow_the_spec() {
        let long = "a".repeat(62) + "--b";
        for (name, spec, hostname, domain) in [
            ("p", "{containers: []}", "p", None),
            ("p", "{containers: [], hostname: h}", "h", None),
            ("p", "{containers: [], hostname: h, subdomain: s}", "h", Some("s.ns.svc.cluster.local")),
            (
                "p",
                "{containers: [], subdomain: s, setHostnameAsFQDN: true}",
                "p.s.ns.svc.cluster.local",
                Some("s.ns.svc.cluster.local"),
            ),
            ("p", "{containers: [], hostname: h, subdomain: s, hostnameOverride: o.x}", "o.x", None),
            (long.as_str(), "{containers: []}", &"a".repeat(62), None),
        ] {
            let names = names(&pod(name, spec), "cluster.local").unwrap();
            assert_eq!((names.hostname.as_str(), names.domain.as_deref()), (hostname, domain), "{spec}");
        }
        let too_long =
            format!("{{containers: [], hostname: {}, subdomain: s, setHostnameAsFQDN: true}}", "h".repeat(50));
        assert!(names(&pod("p", &too_long), "cluster.local").unwrap_err().to_string().contains("is too long (64"));
    }

    #[test]
    fn the_hosts_file_names_the_pod_and_the_aliases() {
        let spec = "{containers: [], subdomain: s, hostAliases: [{ip: 1.2.3.4, hostnames: [a, b]}, {ip: 5.6.7.8, hostnames: [c]}]}";
        let pod = pod("p", spec);
        let names = names(&pod, "d").unwrap();
        let file = hosts_file(&pod, &names, &["10.0.0.2".into(), "fd00::2".into()]);
        let expected = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
            fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n\
            10.0.0.2\tp.s.ns.svc.d\tp\nfd00::2\tp.s.ns.svc.d\tp\n\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n5.6.7.8\tc\n";
        assert_eq!(file, expected);
        assert_eq!(hostname_file(&names), "p\n");
        assert_eq!(
            host_network_hosts_file(&pod, "127.0.0.1 x\n").lines().take(4).collect::<Vec<_>>(),
            ["# Kubernetes-managed hosts file (host network).", "127.0.0.1 x", "", "# Entries added by HostAliases."]
        );
    }

    #[test]
    fn resolv_conf_follows_the_policy() {
        let host =
            ResolvConf::parse("# c\nnameserver 9.9.9.9\nsearch old\nsearch corp d\noptions rotate\nsortlist x\n");
        let cluster = "search ns.svc.d svc.d d corp\nnameserver 10.96.0.10\noptions ndots:5\n";
        let of_host = "search corp d\nnameserver 9.9.9.9\noptions rotate\n";
        for (fields, expected) in [
            ("", cluster),
            (", hostNetwork: true", of_host),
            (", hostNetwork: true, dnsPolicy: ClusterFirstWithHostNet", cluster),
            (", dnsPolicy: Default", of_host),
            (", dnsPolicy: None, dnsConfig: {nameservers: [1.1.1.1]}", "nameserver 1.1.1.1\n"),
            (
                ", dnsConfig: {nameservers: [1.1.1.1, 10.96.0.10], searches: [d, x], options: [{name: ndots, value: '2'}, {name: edns0}]}",
                "search ns.svc.d svc.d d corp x\nnameserver 10.96.0.10\nnameserver 1.1.1.1\noptions ndots:2 edns0\n",
            ),
        ] {
            let pod = pod("p", &format!("{{containers: []{fields}}}"));
            assert_eq!(resolv_conf(&pod, &["10.96.0.10".into()], "d", &host).to_string(), expected, "{fields}");
        }
        for (options, expected) in [("", 1), ("ndots:5", 5), ("ndots:2 rotate ndots:x", 1), ("ndots:99", 15)] {
            assert_eq!(ResolvConf::parse(&format!("options {options}")).ndots(), expected, "{options}");
        }
    }
}
