// The npm package `@kubernetes/client-node` against the server of $KUBECONFIG: create, watch, patch, exec, logs,
// port-forward, delete.

import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import {
  CoreV1Api, Exec, KubeConfig, KubernetesObjectApi, Log, Metrics, PatchStrategy, PortForward, Watch, makeInformer,
  setHeaderOptions,
} from '@kubernetes/client-node';

const config = new KubeConfig();
config.loadFromDefault();
const v1 = config.makeApiClient(CoreV1Api);
const namespace = 'default';
const name = 'of-client-node';

/// Waits for something that is given to a callback.
const promised = (start) => new Promise((resolve, reject) => start(resolve, reject));
/// Everything that is written to a stream, until it holds a text.
const until = (stream, text) => promised((resolve, reject) => {
  let all = '';
  stream.on('data', (more) => {
    all += more;
    if (all.includes(text)) resolve(all);
  });
  stream.on('end', () => reject(new Error(`no ${text} in ${all}`)));
});
const refused = (code) => (error) => error.code === code;

// Create.
await v1.createNamespacedPod({
  namespace,
  body: {
    metadata: { name, labels: { app: name } },
    spec: { terminationGracePeriodSeconds: 1, containers: [{ name: 'c', image: 'nginx' }] },
  },
});
const map = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace, labels: { app: name } }, data: { a: '1' } };
await v1.createNamespacedConfigMap({ namespace, body: map });
await assert.rejects(v1.createNamespacedConfigMap({ namespace, body: map }), refused(409));

// Watch, until the pod is ready.
const ready = (pod) => pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True');
const path = `/api/v1/namespaces/${namespace}/pods`;
await promised(async (resolve, reject) => {
  const seen = (phase, pod) => ready(pod) && resolve(pod);
  const watching = await new Watch(config).watch(path, { labelSelector: `app=${name}` }, (phase, pod) => {
    seen(phase, pod);
    if (ready(pod)) watching.abort();
  }, (error) => reject(error ?? new Error('the watch ended')));
});
const { items } = await v1.listNamespacedPod({ namespace, labelSelector: `app=${name}` });
assert.deepEqual(items.map((pod) => [pod.metadata.name, pod.status.phase]), [[name, 'Running']]);
assert(items[0].metadata.creationTimestamp instanceof Date);

// An informer, which lists and watches.
const informer = makeInformer(config, path, () => v1.listNamespacedPod({ namespace }));
const gone = promised((resolve) => informer.on('delete', resolve));
informer.on('error', (error) => {
  if (error.type !== 'aborted') throw error;
});
await informer.start();

// Patch: JSON (the default), merge, and server-side apply.
await v1.patchNamespacedConfigMap({ name, namespace, body: [{ op: 'add', path: '/data/b', value: '2' }] });
await v1.patchNamespacedPod(
  { name, namespace, body: { metadata: { labels: { patched: 'yes' } } } },
  setHeaderOptions('Content-Type', PatchStrategy.StrategicMergePatch),
);
const objects = KubernetesObjectApi.makeApiClient(config);
await objects.patch(
  { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data: { c: '3' } },
  undefined, undefined, 'script', true, PatchStrategy.ServerSideApply,
);
assert.deepEqual((await v1.readNamespacedConfigMap({ name, namespace })).data, { a: '1', b: '2', c: '3' });
assert.equal((await v1.readNamespacedPod({ name, namespace })).metadata.labels.patched, 'yes');
assert.equal((await objects.read(map)).data.a, '1');

// Exec, with its output, its input and its exit code.
const [stdout, stderr, stdin] = [new PassThrough(), new PassThrough(), new PassThrough()];
const script = 'read line; echo got $line; echo err >&2; exit 7';
const [said, complained] = [until(stdout, '\n'), until(stderr, '\n')];
const status = promised((resolve, reject) => {
  new Exec(config).exec(namespace, name, 'c', ['sh', '-c', script], stdout, stderr, stdin, false, resolve).catch(reject);
});
stdin.write('typed\n');
assert.deepEqual([await said, await complained], ['got typed\n', 'err\n']);
const { reason, details } = await status;
assert.deepEqual([reason, details.causes[0].message], ['NonZeroExitCode', '7']);

// Logs, followed.
const log = new PassThrough();
const following = await new Log(config).log(namespace, name, 'c', log, { follow: true });
await until(log, 'start worker processes');
following.abort();

// Port-forward.
const [output, input] = [new PassThrough(), new PassThrough()];
const socket = await new PortForward(config).portForward(namespace, name, [80], output, null, input);
input.write('GET / HTTP/1.0\r\n\r\n');
assert((await until(output, '</html>')).startsWith('HTTP/1.1 200 OK'));
socket.close();

// What pods use, once it has been measured for a while.
const measured = async () => {
  const { items } = await new Metrics(config).getPodMetrics(namespace);
  return items.some((pod) => pod.metadata.name === name && pod.containers[0].usage.memory);
};
while (!await measured()) await setTimeout(100);

// Delete, and see it go.
await v1.deleteNamespacedPod({ name, namespace });
assert.equal((await gone).metadata.name, name);
await informer.stop();
await v1.deleteCollectionNamespacedConfigMap({ namespace, labelSelector: `app=${name}` });
await assert.rejects(v1.readNamespacedPod({ name, namespace }), refused(404));
await assert.rejects(v1.readNamespacedConfigMap({ name, namespace }), refused(404));
console.log('done');
process.exit(0);
