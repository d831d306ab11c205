//! §10: how the image for a start is come by, and what is said of it.

use super::check;

const POLICIES: &str = r#"
pod containers: [{name: c, image: i}]

§10 Always: resolved at every start
  pod  containers: [{name: c, image: i, imagePullPolicy: Always}]
  do   pull c always

§10 at restarts too
  pod  containers: [{name: c, image: i, imagePullPolicy: Always}]
  seen c: exited:1@95
  do   pull c always

§10 IfNotPresent
  pod  containers: [{name: c, image: i, imagePullPolicy: IfNotPresent}]
  do   pull c

§10 Never
  pod  containers: [{name: c, image: i, imagePullPolicy: Never}]
  do   pull c never

§10 an image is good for one start
  seen c: present
  again
  do   nothing
  c    ContainerCreating

§10 the next start looks again
  seen c: exited:1@95
  do   pull c

§10 another container's image is another's
  pod  containers: [{name: c, image: i}, {name: d, image: i}]
  seen c: running@95
  do   pull d
"#;

#[test]
fn the_pull_policy_says_where_to_look() {
    check(POLICIES);
}

const TOLD: &str = r#"
pod containers: [{name: c, image: i}]

§10 Pulling
  seen c: pulling
  then pulling c
  do   nothing
  event Normal Pulling containers{c} 'Pulling image "i"'

§10 Pulled
  seen c: pulling
  then pulled c 1200 5000
  do   start c/0
  event Normal Pulled containers{c} 'Successfully pulled image "i" in 1.2s (1.2s including waiting). Image size: 5000 bytes.'

§10 already present
  seen c: pulling
  then present c
  do   start c/0
  event Normal Pulled containers{c} 'Container image "i" already present on machine and can be accessed by the pod'

§10 a failed pull
  seen c: pulling
  then unpullable c pull "not found"
  do   nothing
  c    ErrImagePull "not found"
  event Warning Failed containers{c} 'Failed to pull image "i": not found'
  event Warning Failed containers{c} "Error: ErrImagePull"

§10 its back-off
  seen c: pulling
  then unpullable c pull "not found"
  again
  do   nothing
  c    ImagePullBackOff 'Back-off pulling image "i": ErrImagePull: not found'
  event Normal BackOff containers{c} 'Back-off pulling image "i"'
  event Warning Failed containers{c} "Error: ImagePullBackOff"

§10 absent under Never
  seen c: pulling
  then unpullable c never ""
  do   nothing
  c    ErrImageNeverPull 'Container image "i" is not present with pull policy of Never'
  event Warning ErrImageNeverPull containers{c} 'Container image "i" is not present with pull policy of Never'
  event Warning Failed containers{c} "Error: ErrImageNeverPull"

§10 a bad name
  seen c: pulling
  then unpullable c name "invalid reference format"
  do   nothing
  c    InvalidImageName 'Failed to apply default image tag "i": invalid reference format'
  event Warning InspectFailed containers{c} 'Failed to apply default image tag "i": invalid reference format'
  event Warning Failed containers{c} "Error: InvalidImageName"

§4 a store that can't be read
  seen c: pulling
  then unpullable c inspect "disk error"
  do   nothing
  c    ImageInspectError

§3 without a back-off it is tried again after 10 s
  seen c: pulling
  then unpullable c never ""
  do   nothing
  wake 110

§3 and then it is
  seen c: unpullable:never@100
  do   pull c
  c    ErrImageNeverPull

§10 an init container's
  pod  initContainers: [{name: i, image: i}], containers: [{name: c, image: i}]
  seen i: pulling
  then unpullable i pull "not found"
  do   nothing
  i    ErrImagePull "not found"
  phase Pending
  event Warning Failed initContainers{i} 'Failed to pull image "i": not found'
  event Warning Failed initContainers{i} "Error: ErrImagePull"
"#;

#[test]
fn what_comes_of_an_image_is_told() {
    check(TOLD);
}
