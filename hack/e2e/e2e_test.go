//go:build e2e

// Package e2e_test installs the chart on a real kind cluster and checks what its users see: viewers, those who post, and
// those who operate it.
package e2e_test

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/livecomments/livecomments/hack/e2e/cluster"
	"github.com/livecomments/livecomments/hack/e2e/release"
)

const (
	namespace = "livecomments"
	// patience is for what takes seconds: pods that start, a roll-out.
	patience = 3 * time.Minute
)

// TestOnKubernetes is one story in order: each check goes on with the system that the one before has left. The cluster is
// E2E_CLUSTER, made where it is not there, and then deleted in the end unless E2E_KEEP is set. The node image is
// KIND_NODE_IMAGE, or kind's own choice.
func TestOnKubernetes(t *testing.T) {
	c := ensureCluster(t)
	snapshot := everythingIn(t, c, namespace)
	s := &system{Cluster: c, images: images(t, filepath.Join(root, "bin/images/values.yaml"))}
	require.NoError(t, c.LoadImages(t.Context(), slices.Collect(maps.Values(s.images))...))

	for _, check := range []struct {
		name string
		run  func(*testing.T, *system)
		// vital checks are what the following ones stand on.
		vital bool
	}{
		{"bad values fail at install, with a sentence that names them", badValuesFail, false},
		{"the chart installs where restricted is enforced and nothing may speak to anything", installs, true},
		{"comments posted through the Service arrive at viewers on every reader", commentsArrive, false},
		{"helm test passes", helmTestPasses, false},
		{"only the parts reach Redis, and only with its password", redisIsClosed, false},
		{"random: kubectl scale from 3 to 6 readers loses nothing, and each still takes in most videos", scaled, false},
		{"redirect: an upgrade leads there, under viewers, and loses nothing", redirected, true},
		{"redirect: kubectl scale from 3 to 6 readers halves what each takes in", scaled, false},
		{"redirect: a rolling upgrade of the readers loses nothing", rollingUpgrade, false},
		{"redirect: the kill of a reader pod loses nothing", readerKilled, false},
		{"redirect: the autoscaler adds readers under load, an upgrade of the chart keeps them, the password and the volume, and it takes them away again", autoscaling, false},
		{"gateway: an upgrade leads there", func(t *testing.T, s *system) { s.enter(t, gateway) }, true},
		{"gateway: strangers reach it, and nothing behind it", onlyTheGatewayIsOpen, false},
		{"gateway: both send the same video to the same reader", gatewaysAgree, false},
		{"gateway: helm test passes", helmTestPasses, false},
		{"gateway: kubectl scale from 3 to 6 readers halves what each takes in", scaled, false},
		{"gateway: a rolling upgrade of the readers loses nothing", rollingUpgrade, false},
		{"gateway: the deletion of a reader pod loses nothing", readerDeleted, false},
		{"gateway: the kill of a reader pod loses nothing", readerKilled, false},
		{"gateway: it is rolled, and loses nothing", gatewayRolled, false},
		{"gateway: the kill of one loses nothing", gatewayKilled, false},
		{"gateway: viewers outside the cluster miss nothing", gatewayFromOutside, false},
		{"gateway: while the Redis pod is deleted posts are answered 201 or 503, and no 201 is lost", redisDeleted, false},
		{"gateway: the autoscaler adds readers under load, and takes them away again", autoscaling, false},
		{"host ports: where Pod Security refuses them nothing is installed", hostPortsRefused, false},
		{"host ports: viewers outside the cluster go to each node's reader by itself, over TLS, and miss nothing", hostPorts, false},
		{"a Redis of one's own is used over TLS", externalRedis, false},
		{"uninstall leaves nothing but the Redis volume", func(t *testing.T, s *system) { uninstall(t, s, snapshot) }, false},
	} {
		began := time.Now()
		passed := t.Run(check.name, func(t *testing.T) { check.run(t, s) })
		t.Logf("%s after %s: %s", map[bool]string{true: "passed", false: "FAILED"}[passed], time.Since(began).Round(time.Second), check.name)
		if !passed && check.vital {
			t.FailNow()
		}
	}
}

func ensureCluster(t *testing.T) *cluster.Cluster {
	t.Helper()
	name := cmp.Or(os.Getenv("E2E_CLUSTER"), "livecomments-e2e")
	began := time.Now()
	c, err := cluster.Ensure(name, filepath.Join(root, "k8s/kind.yaml"), os.Getenv("KIND_NODE_IMAGE"), t.TempDir())
	if c != nil && c.Created() && os.Getenv("E2E_KEEP") == "" {
		t.Cleanup(func() { require.NoError(t, c.Delete()) })
	}
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			logs := filepath.Join(root, "bin/e2e-logs")
			if err := c.ExportLogs(logs); err != nil {
				t.Log("not all logs could be had:", err)
			}
			t.Log("the logs of nodes and pods are in bin/e2e-logs")
		}
	})
	require.NoError(t, c.Apply(filepath.Join(root, "k8s/metrics-server.yaml")))
	await(t, patience, func() error {
		_, err := c.Kube.Discovery().ServerPreferredNamespacedResources()
		return err // until metrics-server answers for its own
	})
	// What an earlier run has left in a cluster that is used again is not this run's.
	for _, left := range []string{namespace, externalNamespace, strangerNamespace, outsideNamespace, refusedNamespace} {
		err := c.Kube.CoreV1().Namespaces().Delete(t.Context(), left, metav1.DeleteOptions{})
		if err == nil {
			await(t, patience, func() error {
				_, err := c.Kube.CoreV1().Namespaces().Get(t.Context(), left, metav1.GetOptions{})
				if err == nil {
					return errStillThere
				}
				return nil
			})
		}
	}
	restricted(t, c, namespace)
	version, err := c.Kube.Discovery().ServerVersion()
	require.NoError(t, err)
	nodes, err := c.Kube.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	t.Logf("cluster %s: Kubernetes %s on %d nodes, ready after %s", name, version.GitVersion, len(nodes.Items), time.Since(began).Round(time.Second))
	return c
}

func valueFiles() []string {
	files := []string{filepath.Join(root, "k8s/values-ci.yaml"), filepath.Join(root, "bin/images/values.yaml")}
	if os.Getenv("E2E_OFFLINE") != "" {
		files = append(files, filepath.Join(root, "k8s/values-offline.yaml"))
	}
	return files
}

func badValuesFail(t *testing.T, s *system) {
	for set, says := range map[string]string{
		"reader.replicas=many":               "/reader/replicas",
		"reader.replica=3":                   "replica",
		"reader.streamLifetime=fast":         "streamLifetime",
		"redis.enabled=false":                "externalRedis.url or externalRedis.existingSecret must be set when redis.enabled is false",
		"reader.drain.periodSeconds=60":      "reader.drain.periodSeconds=60 must be less than timeoutSeconds=15",
		"routing.mode=nearest":               "/routing/mode",
		"routing.mode=redirect":              "routing.mode=redirect needs reader.advertise.url or reader.hostPort",
		"reader.autoscaling.minReplicas=500": "reader.autoscaling.minReplicas=500 must not be more than maxReplicas=4",
	} {
		r, err := release.New(s.Kubeconfig, namespace, "bad")
		require.NoError(t, err)
		c, err := release.Load(filepath.Join(root, "charts/livecomments"))
		require.NoError(t, err)
		err = r.Install(t.Context(), c, release.Values{Files: valueFiles(), Set: []string{set}}, time.Minute)
		require.ErrorContains(t, err, says, set)
		t.Logf("--set %s: %v", set, err)
	}
	require.Empty(t, s.podsIn(t, namespace), "nothing was installed")
}

// installs installs the chart as it was before: E2E_PREVIOUS_CHART, or this one under an earlier version. A later check
// upgrades it.
func installs(t *testing.T, s *system) {
	current, err := release.Load(filepath.Join(root, "charts/livecomments"))
	require.NoError(t, err)
	s.chart = current
	previous, err := release.Load(cmp.Or(os.Getenv("E2E_PREVIOUS_CHART"), filepath.Join(root, "charts/livecomments")))
	require.NoError(t, err)
	if os.Getenv("E2E_PREVIOUS_CHART") == "" {
		previous.Metadata.Version = "0.0.1"
	}
	s.release, err = release.New(s.Kubeconfig, namespace, "livecomments")
	require.NoError(t, err)
	s.mode = random
	s.values = release.Values{Files: valueFiles(), Set: []string{"routing.mode=random"}}
	began := time.Now()
	require.NoError(t, s.release.Install(t.Context(), previous, s.values, patience))
	t.Logf("chart %s: all pods are ready after %s", previous.Metadata.Version, time.Since(began).Round(time.Second))
	for component, count := range map[string]int{"comment": 2, "reader": 3, "statistics": 1, "client": 1, "redis": 1} {
		for _, pod := range s.awaitPods(t, component, count, time.Minute) {
			require.Equal(t, corev1.PodRunning, pod.Status.Phase)
		}
	}
	for port, url := range map[int]*string{commentPort: &s.comment, readerPort: &s.reader, statisticsPort: &s.statistics} {
		*url, err = s.URL(t.Context(), port)
		require.NoError(t, err)
	}
}

func helmTestPasses(t *testing.T, s *system) { require.NoError(t, s.release.Test(patience)) }
