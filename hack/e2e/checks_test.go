//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tmaxmax/go-sse"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/livecomments/livecomments/hack/e2e/cluster"
)

var errStillThere = errors.New("it is still there")

// stream is one viewer's open stream, outside the cluster.
type stream struct {
	instance string
	comments chan string
	stop     context.CancelFunc
}

// open opens a stream through the readers' Service.
func (s *system) open(t *testing.T, query string) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.reader+"/connect?"+query, http.NoBody)
	require.NoError(t, err)
	r.Close = true
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode)
	opened := &stream{comments: make(chan string, 10_000), stop: cancel}
	connected := make(chan string, 1)
	go func() {
		defer func() { _ = response.Body.Close() }()
		defer close(opened.comments)
		for event, err := range sse.Read(response.Body, nil) {
			if err != nil {
				return
			}
			switch {
			case strings.Contains(event.Data, `"type":"connected"`):
				_, instance, _ := strings.Cut(event.Data, `"instance":"`)
				instance, _, _ = strings.Cut(instance, `"`)
				connected <- instance
			case event.Type == "":
				opened.comments <- event.LastEventID + " " + event.Data
			}
		}
	}()
	select {
	case opened.instance = <-connected:
	case <-time.After(10 * time.Second):
		require.Fail(t, "no connected event within 10 s")
	}
	return opened
}

func commentsArrive(t *testing.T, s *system) {
	readers := map[string]*stream{}
	for _, pod := range s.pods(t, "reader") {
		readers[pod.Name] = nil
	}
	// The Service chooses at random, so it takes a few tries to have a viewer on each.
	await(t, time.Minute, func() error {
		opened := s.open(t, "userid=me&videoid=everywhere")
		if at, known := readers[opened.instance]; !known || at != nil {
			opened.stop()
			return fmt.Errorf("no viewer on every reader yet: %v", readers)
		}
		readers[opened.instance] = opened
		for _, at := range readers {
			if at == nil {
				return errors.New("no viewer on every reader yet")
			}
		}
		return nil
	})
	status, body, err := request(http.MethodPost, s.comment+"/comment", `{"userid":"me","videoid":"everywhere","comment":"hello, all"}`)
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, status, string(body))
	for name, at := range readers {
		select {
		case text := <-at.comments:
			assert.Contains(t, text, "hello, all")
			t.Logf("%s: %s", name, text)
		case <-time.After(10 * time.Second):
			assert.Fail(t, "the comment did not arrive", name)
		}
		at.stop()
	}
}

// scale is `kubectl scale deployment/livecomments-reader --replicas=n`.
func (s *system) scale(t *testing.T, replicas int32) {
	t.Helper()
	_, err := s.Kube.AppsV1().Deployments(s.release.Namespace).UpdateScale(t.Context(), "livecomments-reader", &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Name: "livecomments-reader", Namespace: s.release.Namespace},
		Spec:       autoscalingv1.ScaleSpec{Replicas: replicas},
	}, metav1.UpdateOptions{})
	require.NoError(t, err)
	s.awaitPods(t, "reader", int(replicas), patience)
}

func rollingUpgrade(t *testing.T, s *system) {
	attached := s.watch(t, "upgrading-"+s.mode, 150, 15, 12)
	old := map[string]bool{}
	for _, pod := range s.pods(t, "reader") {
		old[pod.Name] = true
	}
	values := s.values
	values.Set = append(values.Set[:len(values.Set):len(values.Set)], fmt.Sprintf("reader.heartbeat=%ds", 10+len(s.mode)))
	require.NoError(t, s.release.Upgrade(t.Context(), s.chart, values, patience))
	for _, pod := range s.awaitPods(t, "reader", 3, patience) {
		assert.False(t, old[pod.Name], "%s is still the old one", pod.Name)
	}
	s.values = values
	// The old pods end their streams while the new ones are ready already.
	await(t, time.Minute, func() error {
		for name := range old {
			if _, err := s.Kube.CoreV1().Pods(namespace).Get(t.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				return fmt.Errorf("%s has not gone: %w", name, errStillThere)
			}
		}
		return nil
	})
	f := attached.leave(t)
	f.content(t)
	assert.GreaterOrEqual(t, f.Verification.Reconnects, uint64(150), "every viewer has moved to a new pod")
}

func readerDeleted(t *testing.T, s *system) {
	deleteReader(t, s, "deleted-"+s.mode, metav1.DeleteOptions{})
}

func readerKilled(t *testing.T, s *system) {
	var now int64
	deleteReader(t, s, "killed-"+s.mode, metav1.DeleteOptions{GracePeriodSeconds: &now})
}

func deleteReader(t *testing.T, s *system, name string, how metav1.DeleteOptions) {
	attached := s.watch(t, name, 150, 15, 12)
	victim := s.pods(t, "reader")[0].Name
	require.NoError(t, s.Kube.CoreV1().Pods(namespace).Delete(t.Context(), victim, how))
	s.awaitPods(t, "reader", 3, patience)
	await(t, time.Minute, func() error {
		if _, err := s.Kube.CoreV1().Pods(namespace).Get(t.Context(), victim, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return errStillThere
		}
		return attached.allConnected()
	})
	f := attached.leave(t)
	f.content(t)
	assert.Positive(t, f.Verification.Reconnects)
}

func redisDeleted(t *testing.T, s *system) {
	attached := s.watch(t, "redis-deleted", 150, 15, 12)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var posting sync.WaitGroup
	answers, stored := map[int]int{}, []string{}
	posting.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			status, body, err := request(http.MethodPost, s.comment+"/comment", fmt.Sprintf(`{"userid":"me","videoid":"outage","comment":"number %d"}`, i))
			if err != nil {
				t.Log("a post failed:", err)
			}
			answers[status]++
			if status == http.StatusCreated {
				_, id, _ := strings.Cut(string(body), `"id":"`)
				id, _, _ = strings.Cut(id, `"`)
				stored = append(stored, id)
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	time.Sleep(3 * time.Second)
	before := s.pods(t, "redis")[0].UID
	require.NoError(t, s.Kube.CoreV1().Pods(namespace).Delete(t.Context(), "livecomments-redis-0", metav1.DeleteOptions{}))
	await(t, patience, func() error {
		for _, pod := range s.pods(t, "redis") {
			if pod.UID != before && ready(&pod) {
				return nil
			}
		}
		return errors.New("no new Redis pod is ready")
	})
	time.Sleep(10 * time.Second)
	stop()
	posting.Wait()
	t.Logf("posts through it all, by status: %v", answers)
	for status := range answers {
		assert.Contains(t, []int{http.StatusCreated, http.StatusServiceUnavailable}, status)
	}
	assert.Positive(t, answers[http.StatusServiceUnavailable], "Redis was away")

	history := s.open(t, "userid=me&videoid=outage&history=1000")
	defer history.stop()
	kept := map[string]bool{}
	for wait := true; wait; {
		select {
		case text := <-history.comments:
			id, _, _ := strings.Cut(text, " ")
			kept[id] = true
		case <-time.After(3 * time.Second):
			wait = false
		}
	}
	for _, id := range stored {
		assert.True(t, kept[id], "comment %s was answered 201, and is not in the history", id)
	}
	t.Logf("%d comments were answered 201, %d are in the history", len(stored), len(kept))
	f := attached.leave(t)
	f.content(t)
}

// everythingIn names all that is in a namespace, but for what comes and goes by itself.
func everythingIn(t *testing.T, c *cluster.Cluster, namespace string) map[string]bool {
	t.Helper()
	lists, err := c.Kube.Discovery().ServerPreferredNamespacedResources()
	require.NoError(t, err)
	client, err := dynamic.NewForConfig(c.REST)
	require.NoError(t, err)
	names := map[string]bool{}
	for _, list := range lists {
		group, err := schema.ParseGroupVersion(list.GroupVersion)
		require.NoError(t, err)
		for _, kind := range list.APIResources {
			if kind.Kind == "Event" || kind.Kind == "PodMetrics" || !strings.Contains(strings.Join(kind.Verbs, " "), "list") {
				continue
			}
			found, err := client.Resource(group.WithResource(kind.Name)).Namespace(namespace).List(t.Context(), metav1.ListOptions{})
			require.NoErrorf(t, err, "%s %s", list.GroupVersion, kind.Name)
			for i := range found.Items {
				names[kind.Kind+"/"+found.Items[i].GetName()] = true
			}
		}
	}
	return names
}

func uninstall(t *testing.T, s *system, snapshot map[string]bool) {
	require.NoError(t, s.release.Uninstall(patience))
	const volume = "PersistentVolumeClaim/data-livecomments-redis-0"
	await(t, time.Minute, func() error {
		var left []string
		for name := range everythingIn(t, s.Cluster, namespace) {
			if !snapshot[name] && name != volume {
				left = append(left, name)
			}
		}
		if len(left) > 0 {
			return fmt.Errorf("left behind: %v", left)
		}
		return nil
	})
	assert.True(t, everythingIn(t, s.Cluster, namespace)[volume], "the volume with the comments is kept")
}

func (s *system) podsIn(t *testing.T, namespace string) []corev1.Pod {
	t.Helper()
	list, err := s.Kube.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	return list.Items
}
