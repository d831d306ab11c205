//! Tables, metadata alone, discovery, reviews, sizes.

use super::*;

const TABLE: (&str, &str) = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json");

/// The columns and the first row of the table at a path.
async fn table(cluster: &Cluster, path: &str) -> (String, Vec<String>) {
    let table = cluster.send("GET", path, &[TABLE], "").await.good();
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    let columns = table["columnDefinitions"].as_array().unwrap().iter();
    let columns: Vec<&str> = columns.map(|column| column["name"].as_str().unwrap()).collect();
    let cells = table["rows"][0]["cells"].as_array().unwrap().iter();
    let cells = cells.map(|cell| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned)).collect();
    (columns.join(" | "), cells)
}

/// A path, an object in YAML, the columns of the table at the path, and the cells of the object.
type Shown = (&'static str, &'static str, &'static str, &'static [&'static str]);

const SHOWN: &[Shown] = &[
    (MAPS, "{metadata: {name: m}, data: {a: b}}", "Name | Data | Age", &["m", "1", "0s"]),
    (
        "/api/v1/namespaces/default/secrets",
        "{metadata: {name: s}, stringData: {a: b}}",
        "Name | Type | Data | Age",
        &["s", "Opaque", "1", "0s"],
    ),
    (
        "/api/v1/namespaces/default/services",
        "{metadata: {name: s}, spec: {type: NodePort, ports: [{port: 80, nodePort: 30000}], selector: {a: b}}}",
        "Name | Type | Cluster-IP | External-IP | Port(s) | Age | Selector",
        &["s", "NodePort", "10.96.1.1", "<none>", "80:30000/TCP", "0s", "a=b"],
    ),
    (
        "/api/v1/namespaces/default/endpoints",
        "{metadata: {name: e}, subsets: [{addresses: [{ip: 10.0.0.1}, {ip: 10.0.0.2}], ports: [{name: a, port: 1}, {name: b,
          port: 2}]}]}",
        "Name | Endpoints | Age",
        &["e", "10.0.0.1:1,10.0.0.1:2,10.0.0.2:1 + 1 more...", "0s"],
    ),
    (
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
        "{metadata: {name: e}, addressType: IPv4, ports: [{port: 80}], endpoints: [{addresses: [10.0.0.1]}]}",
        "Name | AddressType | Ports | Endpoints | Age",
        &["e", "IPv4", "80", "10.0.0.1", "0s"],
    ),
    (
        "/api/v1/namespaces/default/persistentvolumeclaims",
        "{metadata: {name: c}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}",
        "Name | Status | Volume | Capacity | Access Modes | StorageClass | VolumeAttributesClass | Age | VolumeMode",
        &["c", "Pending", "", "", "", "", "<unset>", "0s", "Filesystem"],
    ),
    (
        "/api/v1/nodes",
        "{metadata: {name: node, labels: {node-role.kubernetes.io/control-plane: ''}}, spec: {unschedulable: true}}",
        "Name | Status | Roles | Age | Version | Internal-IP | External-IP | OS-Image | Kernel-Version | Container-Runtime",
        &[
            "node",
            "Unknown,SchedulingDisabled",
            "control-plane",
            "0s",
            "",
            "<none>",
            "<none>",
            "<unknown>",
            "<unknown>",
            "<unknown>",
        ],
    ),
    (
        "/apis/coordination.k8s.io/v1/namespaces/default/leases",
        "{metadata: {name: l}, spec: {holderIdentity: me}}",
        "Name | Holder | Age",
        &["l", "me", "0s"],
    ),
    (
        "/apis/node.k8s.io/v1/runtimeclasses",
        "{metadata: {name: r}, handler: wasm}",
        "Name | Handler | Age",
        &["r", "wasm", "0s"],
    ),
    (
        "/apis/scheduling.k8s.io/v1/priorityclasses",
        "{metadata: {name: p}, value: 5}",
        "Name | Value | Global-Default | Age | PreemptionPolicy",
        &["p", "5", "false", "0s", "PreemptLowerPriority"],
    ),
    (
        "/api/v1/namespaces/default/events",
        "{metadata: {name: e}, involvedObject: {kind: Pod, name: p, namespace: default}, reason: R, message: ' m ',
          type: Normal, firstTimestamp: '2027-01-15T07:59:50Z', lastTimestamp: '2027-01-15T07:59:55Z', count: 3,
          source: {component: k, host: h}}",
        "Last Seen | Type | Reason | Object | Subobject | Source | Message | First Seen | Count | Name",
        &["5s", "Normal", "R", "pod/p", "", "k, h", "m", "10s", "3", "e"],
    ),
    (
        PODS,
        "{metadata: {name: p}, spec: {containers: [{name: c, image: i}]}}",
        "Name | Ready | Status | Restarts | Age | IP | Node | Nominated Node | Readiness Gates",
        &["p", "0/1", "Pending", "0", "0s", "<none>", "<none>", "<none>", "<none>"],
    ),
];

/// §16.
#[tokio::test]
async fn every_kind_has_its_columns() {
    let cluster = Cluster::new().await;
    for (path, object, columns, cells) in SHOWN {
        cluster.post(path, serde_yaml::from_str(object).unwrap()).await.good();
        let cells = cells.iter().map(|cell| (*cell).to_owned()).collect();
        assert_eq!(table(&cluster, path).await, ((*columns).to_owned(), cells));
    }
    let namespace = table(&cluster, "/api/v1/namespaces/default").await;
    assert_eq!(namespace, ("Name | Status | Age".to_owned(), vec!["default".into(), "Active".into(), "0s".into()]));
    assert_eq!(table(&cluster, ACCOUNTS).await.0, "Name | Secrets | Age");
}

#[tokio::test]
async fn rows_have_what_is_asked_for() {
    let cluster = Cluster::new().await;
    cluster.config_map("m", json!({"a": "b"})).await;
    let row = async |query: &str| {
        let table = cluster.send("GET", &format!("{MAPS}?{query}"), &[TABLE], "").await;
        table.good()["rows"][0]["object"].clone()
    };
    let metadata = row("").await;
    assert_eq!(
        (&metadata["kind"], &metadata["metadata"]["name"], &metadata["data"]),
        (&json!("PartialObjectMetadata"), &json!("m"), &Value::Null)
    );
    assert_eq!(row("includeObject=Object").await["data"]["a"], "b");
    assert_eq!(row("includeObject=None").await, Value::Null);
    let wrong = cluster.send("GET", &format!("{MAPS}?includeObject=All"), &[TABLE], "").await;
    assert_eq!(wrong.error().0, 400);
}

#[tokio::test]
async fn metadata_is_shown_alone() {
    let cluster = Cluster::new().await;
    cluster.config_map("m", json!({"a": "b"})).await;
    let accept = [("accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")];
    let list = cluster.send("GET", MAPS, &accept, "").await.good();
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("PartialObjectMetadataList"), &json!("meta.k8s.io/v1")));
    assert_eq!((&list["items"][0]["metadata"]["name"], &list["items"][0]["data"]), (&json!("m"), &Value::Null));
    let refused = cluster.send("GET", MAPS, &[("accept", "text/html")], "").await;
    assert_eq!((refused.error().0, refused.error().1), (406, "NotAcceptable"));
}

#[tokio::test]
async fn discovery_is_one_document_or_many() {
    let cluster = Cluster::new().await;
    let versions = cluster.get("/api").await.good();
    assert_eq!((&versions["kind"], &versions["versions"]), (&json!("APIVersions"), &json!(["v1"])));
    let groups = cluster.get("/apis/").await.good();
    let names: Vec<_> =
        groups["groups"].as_array().unwrap().iter().map(|group| group["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"events.k8s.io") && names.contains(&"metrics.k8s.io") && names.is_sorted(), "{names:?}");
    let resources = cluster.get("/api/v1").await.good();
    let find =
        |list: &Value, name: &str| list.as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone();
    let pods = find(&resources["resources"], "pods");
    assert_eq!(
        (&pods["singularName"], &pods["shortNames"], &pods["namespaced"]),
        (&json!("pod"), &json!(["po"]), &json!(true))
    );
    let eviction = find(&resources["resources"], "pods/eviction");
    assert_eq!(
        (&eviction["group"], &eviction["version"], &eviction["kind"]),
        (&json!("policy"), &json!("v1"), &json!("Eviction"))
    );
    assert_eq!(cluster.get("/apis/node.k8s.io").await.good()["kind"], "APIGroup");
    assert_eq!(cluster.get("/apis/apps/v1").await.error().0, 404);
    for version in ["v2", "v2beta1"] {
        let media = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
        let accept = format!("{media},application/json");
        let answer = cluster.send("GET", "/apis", &[("accept", &accept), ("if-none-match", "\"x\"")], "").await;
        // No answer says that nothing has changed, and each says what it is.
        assert_eq!((answer.code, answer.headers["content-type"].to_str().unwrap()), (StatusCode::OK, media.as_str()));
        assert!(answer.headers.get("etag").is_none());
        let document = answer.good();
        assert_eq!(document["kind"], "APIGroupDiscoveryList");
        assert_eq!(document["items"][0]["metadata"]["name"], "authentication.k8s.io");
        let core = cluster.send("GET", "/api", &[("accept", &accept)], "").await.good();
        let pods = core["items"][0]["versions"][0]["resources"].as_array().unwrap().iter();
        let pods = pods.clone().find(|resource| resource["resource"] == "pods").unwrap();
        assert_eq!((&pods["scope"], &pods["responseKind"]["kind"]), (&json!("Namespaced"), &json!("Pod")));
    }
}

#[tokio::test]
async fn the_server_says_what_it_is_and_how() {
    let cluster = Cluster::new().await;
    let version = cluster.get("/version/").await.good();
    assert_eq!(
        (&version["major"], &version["minor"], &version["gitVersion"]),
        (&json!("1"), &json!("33"), &json!("v1.33.1"))
    );
    for path in ["/healthz", "/livez?verbose", "/readyz", "/livez/ping"] {
        let answer = cluster.get(path).await;
        assert_eq!((answer.code, answer.text.as_str()), (StatusCode::OK, "ok"));
    }
    assert_eq!(cluster.post("/version", json!({})).await.error().0, 404);
}

#[tokio::test]
async fn reviews_say_who_one_is_and_what_one_may_do() {
    let cluster = Cluster::new().await;
    let older = json!({"apiVersion": "authentication.k8s.io/v1beta1", "kind": "SelfSubjectReview"});
    let older = cluster.post("/apis/authentication.k8s.io/v1beta1/selfsubjectreviews", older).await.good();
    assert_eq!(older["apiVersion"], "authentication.k8s.io/v1beta1");
    assert_eq!(older["status"]["userInfo"]["username"], Identity::admin().username);
    let own = cluster.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json!({})).await;
    assert_eq!(own.code, StatusCode::CREATED);
    let own = own.good();
    assert_eq!(
        (&own["kind"], &own["status"]["userInfo"]["username"]),
        (&json!("SelfSubjectReview"), &json!("kubernetes-admin"))
    );
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let asked = json!({"spec": {"resourceAttributes": {"verb": "create", "resource": "pods", "namespace": "default"}}});
    assert_eq!(cluster.post(reviews, asked).await.good()["status"]["allowed"], true);
    assert_eq!(cluster.post(reviews, json!({"spec": {}})).await.error().0, 422);
    let others = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let asked = json!({"spec": {"user": "system:serviceaccount:default:default", "groups": ["system:serviceaccounts"],
        "resourceAttributes": {"verb": "get", "resource": "secrets", "namespace": "default"}}});
    assert_eq!(cluster.post(others, asked).await.good()["status"]["allowed"], false);
    let rules = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let rules = cluster.post(rules, json!({"spec": {"namespace": "default"}})).await.good();
    assert_eq!(rules["status"]["resourceRules"][0]["verbs"], json!(["*"]));
    let token = cluster.post(&format!("{ACCOUNTS}/default/token"), json!({"spec": {}})).await.good();
    let text = token["status"]["token"].as_str().unwrap();
    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    let review = cluster.post(reviews, json!({"spec": {"token": text}})).await.good();
    assert_eq!(review["status"]["user"]["username"], "system:serviceaccount:default:default");
    let review = cluster.post(reviews, json!({"spec": {"token": "x"}})).await.good();
    assert_eq!(review["status"]["authenticated"], false);
    let missing = cluster.post(&format!("{ACCOUNTS}/none/token"), json!({"spec": {}})).await;
    assert_eq!(missing.error(), (404, "NotFound", "serviceaccounts \"none\" not found"));
}

#[tokio::test]
async fn who_may_not_is_told_so() {
    let cluster = Cluster::new().await;
    let mut request = cluster.request("POST", PODS, &[], Body::from("{}"));
    request.extensions_mut().insert(Identity::service_account("default", "robot", "u"));
    let response = cluster.send_raw(request).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let body: Value = serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
    let message = body["message"].as_str().unwrap();
    assert!(
        message.starts_with(
            "pods is forbidden: User \"system:serviceaccount:default:robot\" cannot create resource \"pods\""
        ),
        "{message}"
    );
}

#[tokio::test]
async fn large_answers_are_compressed_and_small_ones_are_not() {
    let cluster = Cluster::new().await;
    for index in 0..3 {
        cluster.config_map(&format!("m{index}"), json!({"k": "x".repeat(100_000)})).await;
    }
    let accept = [("accept-encoding", "gzip")];
    let list = cluster.send("GET", MAPS, &accept, "").await;
    assert_eq!(list.headers.get("content-encoding").unwrap(), "gzip");
    let one = cluster.send("GET", &format!("{MAPS}/m0"), &accept, "").await;
    assert!(one.headers.get("content-encoding").is_none());
    let plain = cluster.get(MAPS).await;
    assert!(plain.headers.get("content-encoding").is_none() && plain.body["items"].as_array().unwrap().len() == 3);
}

#[tokio::test]
async fn hostile_bodies_are_refused() {
    let cluster = Cluster::new().await;
    let deep = format!("{}1{}", "{\"a\":".repeat(5000), "}".repeat(5000));
    let wide = format!("{{\"metadata\":{{\"name\":\"m\"}},\"data\":{{\"k\":\"{}\"}}}}", "x".repeat(4 << 20));
    let large = format!("{{\"metadata\":{{\"name\":\"m\"}},\"data\":{{\"k\":\"{}\"}}}}", "x".repeat(2 << 20));
    for (headers, body, code) in [
        (&[][..], "", 400),
        (&[], "{", 400),
        (&[], "[]", 400),
        (&[], "null", 400),
        (&[], "\"x\"", 400),
        (&[], "{\"metadata\": []}", 400),
        (&[], "{\"metadata\": {\"name\": 5}}", 400),
        (&[], deep.as_str(), 400),
        (&[], wide.as_str(), 413),
        (&[("content-length", "999999999")], "{}", 413),
        (&[], large.as_str(), 422),
        (&[("content-type", "text/html")], "{}", 415),
    ] {
        let answer = cluster.send("POST", MAPS, headers, body.to_owned()).await;
        assert_eq!(answer.error().0, code, "{:.60}: {}", body, answer.text);
    }
}

#[tokio::test]
async fn clients_find_schemas() {
    let cluster = Cluster::new().await;
    let index = cluster.get("/openapi/v3").await.good();
    let url = index["paths"]["api/v1"]["serverRelativeURL"].as_str().unwrap();
    let document = cluster.get(url).await.good();
    assert!(document["components"]["schemas"]["io.k8s.api.core.v1.Pod"]["description"].is_string());
    assert_eq!(cluster.get("/openapi/v3/apis/none/v1").await.error().0, 404);
    // What kubectl asks for must say a media type that can be read.
    let accept = [("accept", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")];
    let old = cluster.send("GET", "/openapi/v2", &accept, "").await;
    assert_eq!(old.headers["content-type"], "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    assert_eq!(old.text, "");
}

#[tokio::test]
async fn usage_is_that_of_what_is_there() {
    let cluster = Cluster::new().await;
    cluster.post("/api/v1/nodes", json!({"metadata": {"name": "node", "labels": {"a": "b"}}})).await.good();
    let nodes = "/apis/metrics.k8s.io/v1beta1/nodes";
    let list = cluster.get(nodes).await.good();
    assert_eq!((&list["kind"], &list["items"][0]["metadata"]["labels"]["a"]), (&json!("NodeMetricsList"), &json!("b")));
    assert!(list["items"][0]["usage"]["cpu"].as_str().unwrap().ends_with('n'));
    assert_eq!(cluster.get(&format!("{nodes}/node")).await.good()["kind"], "NodeMetrics");
    let missing = cluster.get(&format!("{nodes}/none")).await;
    assert_eq!(missing.error(), (404, "NotFound", "nodes.metrics.k8s.io \"none\" not found"));
    let pods = cluster.get("/apis/metrics.k8s.io/v1beta1/pods").await.good();
    assert_eq!((&pods["kind"], &pods["items"]), (&json!("PodMetricsList"), &json!([])));
}
