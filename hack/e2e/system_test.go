//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/livecomments/livecomments/hack/e2e/cluster"
	"github.com/livecomments/livecomments/hack/e2e/release"
)

// Node ports of k8s/values-ci.yaml.
const (
	commentPort    = 30300
	readerPort     = 30400
	statisticsPort = 30500
)

// root is the repository's folder, seen from here.
const root = "../.."

// system is an installed release and the ways to it.
type system struct {
	*cluster.Cluster
	release *release.Release
	chart   *chart.Chart
	values  release.Values
	// mode is its routing.mode, and table what was measured in the modes so far.
	mode  string
	table []row
	// images are the services' images by name.
	images map[string]string
	// comment, reader and statistics are where to post, to watch and to read the figures, outside the cluster, as base URLs.
	comment, reader, statistics string
}

// restricted makes a namespace that enforces the Pod Security Standard "restricted", and in which nothing may speak to
// anything.
func restricted(t *testing.T, c *cluster.Cluster, name string) {
	t.Helper()
	_, err := c.Kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
		"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted",
	}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = c.Kube.NetworkingV1().NetworkPolicies(name).Create(t.Context(), &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "deny-all"},
		Spec:       networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}

// images reads the names of the images that hack/images has built.
func images(t *testing.T, file string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err, "hack/images builds the images")
	var values map[string]struct{ Image string }
	require.NoError(t, yaml.Unmarshal(text, &values))
	names := map[string]string{}
	for service, value := range values {
		names[service] = value.Image
	}
	return names
}

// figures are what the tests read of /statistics.
type figures struct {
	ReaderAPIs struct {
		TotalReaders           int
		TotalActiveConnections int
		SubscriptionShare      struct{ Min, Mean, Max float64 }
		Readers                []struct {
			InstanceID        string
			ActiveConnections int
			SubscriptionShare float64

			MessagesSent, Unplaced  uint64
			Misplaced, FleetReaders int
		}
	}
	Rates struct{ CopiesPerComment, CommentsPerSecond, DeliveriesPerSecond float64 }

	Clients []struct {
		ClientID           string
		Connected, Viewers int
	}
}

func (s *system) figures() (figures, error) {
	var f figures
	status, body, err := request(http.MethodGet, s.statistics+"/statistics", "")
	if err != nil {
		return f, err
	}
	if status != http.StatusOK {
		return f, fmt.Errorf("/statistics answered %d: %s", status, body)
	}
	return f, json.Unmarshal(body, &f)
}

// spread sums the figures of the readers up in a line.
func (f *figures) String() string {
	var streams []int
	for _, reader := range f.ReaderAPIs.Readers {
		streams = append(streams, reader.ActiveConnections)
	}
	share := f.ReaderAPIs.SubscriptionShare
	return fmt.Sprintf("%d readers with %v streams, share of all videos min %.1f%% mean %.1f%% max %.1f%%, %.2f copies per comment",
		f.ReaderAPIs.TotalReaders, streams, 100*share.Min, 100*share.Mean, 100*share.Max, f.Rates.CopiesPerComment)
}

// request is over a connection of its own, so that the Service chooses a pod anew.
func request(method, url, body string) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Close = true
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	var text bytes.Buffer
	_, err = io.Copy(&text, response.Body)
	return response.StatusCode, text.Bytes(), err
}

// await asks until ask finds nothing wrong any more. What was wrong last is the failure.
func await(t *testing.T, timeout time.Duration, ask func() error) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	for {
		err := ask()
		if err == nil {
			return
		}
		require.Truef(t, time.Now().Before(deadline), "after %s: %v", timeout, err)
		time.Sleep(time.Second)
	}
}

// pods of a component that are not on their way out.
func (s *system) pods(t *testing.T, component string) []corev1.Pod {
	t.Helper()
	list, err := s.Kube.CoreV1().Pods(s.release.Namespace).List(t.Context(), metav1.ListOptions{
		LabelSelector: "app.kubernetes.io/instance=" + s.release.Name + ",app.kubernetes.io/component=" + component,
	})
	require.NoError(t, err)
	var staying []corev1.Pod
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil {
			staying = append(staying, pod)
		}
	}
	return staying
}

func ready(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// awaitPods waits until exactly that many pods of a component are there, and ready.
func (s *system) awaitPods(t *testing.T, component string, count int, timeout time.Duration) []corev1.Pod {
	t.Helper()
	var found []corev1.Pod
	await(t, timeout, func() error {
		found = s.pods(t, component)
		working := 0
		for i := range found {
			if ready(&found[i]) {
				working++
			}
		}
		if len(found) != count || working != count {
			return fmt.Errorf("%d %s pods, %d of them ready, not %d", len(found), component, working, count)
		}
		return nil
	})
	return found
}
