//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tmaxmax/go-sse"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The values of routing.mode.
const (
	random   = "random"
	redirect = "redirect"
	gateway  = "gateway"
)

// gatewayPort is the gateway's node port.
const gatewayPort = 30080

// enter upgrades the release to a routing mode. Where readers place viewers their streams live long: only what must move does.
func (s *system) enter(t *testing.T, mode string) {
	t.Helper()
	values := s.values
	values.Set = append(values.Set[:len(values.Set):len(values.Set)], "routing.mode="+mode, "routing.loadBound=0.5", "reader.streamLifetime=30m",
		"reader.autoscaling.enabled=false", "reader.replicas=3")
	switch mode {
	case redirect:
		// Viewers reach pods, inside the cluster.
		values.Set = append(values.Set, "reader.advertise.url=http://$(POD_IP):4000")
	case gateway:
		values.Set = append(values.Set, "reader.advertise.url=", "gateway.service.type=NodePort", fmt.Sprint("gateway.service.nodePort=", gatewayPort),
			"gateway.resources.requests.cpu=50m", "gateway.resources.requests.memory=64Mi", "gateway.drain.timeoutSeconds=10", "gateway.drain.preStopSeconds=2")
	}
	require.NoError(t, s.release.Upgrade(t.Context(), s.chart, values, patience))
	s.values, s.mode = values, mode
	s.awaitPods(t, "reader", 3, patience)
	if mode == gateway {
		s.awaitPods(t, "gateway", 2, patience)
		url, err := s.URL(t.Context(), gatewayPort)
		require.NoError(t, err)
		s.comment, s.reader = url, url
	}
	s.awaitSettled(t, 3)
}

// awaitSettled waits until that many readers report, see each other, and hold no stream that belongs elsewhere.
func (s *system) awaitSettled(t *testing.T, readers int) (f figures) {
	t.Helper()
	await(t, patience, func() (err error) {
		if f, err = s.figures(); err != nil {
			return err
		}
		if f.ReaderAPIs.TotalReaders != readers {
			return fmt.Errorf("%d readers report, not %d", f.ReaderAPIs.TotalReaders, readers)
		}
		for _, reader := range f.ReaderAPIs.Readers {
			if s.mode != random && reader.FleetReaders != readers {
				return fmt.Errorf("%s sees %d readers, not %d", reader.InstanceID, reader.FleetReaders, readers)
			}
			if reader.Misplaced > 0 {
				return fmt.Errorf("the streams have not found their places yet: %s", f.String())
			}
		}
		return nil
	})
	return f
}

// row is what a fleet of so many readers does in a mode.
type row struct {
	mode    string
	readers int
	share   float64 // mean of the readers' subscription shares
	copies  float64 // per comment
	busiest float64 // viewers of the busiest reader over the mean
	cost    map[string]float64
}

func (r *row) String() string {
	return fmt.Sprintf("%-8s %d readers: share %4.1f %%, copies per comment %.2f, busiest %.2f x mean; CPU a delivery: readers %.1f µs, gateway %.1f µs, Redis %.1f µs",
		r.mode, r.readers, 100*r.share, r.copies, r.busiest, r.cost["reader"], r.cost["gateway"], r.cost["redis"])
}

// measure reads the figures of a fleet under load, over so long.
func (s *system) measure(t *testing.T, readers int) row {
	t.Helper()
	const length = 40 * time.Second // the nodes count processor time every 10 to 15 s
	s.awaitSettled(t, readers)
	time.Sleep(3 * time.Second) // LINGER of videos that have left
	before, cpuBefore := s.counts(t), s.cpu(t)
	time.Sleep(length)
	after, cpuAfter := s.counts(t), s.cpu(t)
	f := s.awaitSettled(t, readers)
	// The rates are of the last 30 s, each by the times of its part's own reports.
	r := row{mode: s.mode, readers: readers, share: f.ReaderAPIs.SubscriptionShare.Mean, copies: f.Rates.CopiesPerComment, cost: map[string]float64{}}
	for _, reader := range f.ReaderAPIs.Readers {
		r.busiest = max(r.busiest, float64(reader.ActiveConnections)*float64(readers)/float64(f.ReaderAPIs.TotalActiveConnections))
	}
	deliveries := float64(after.sent-before.sent) / after.at.Sub(before.at).Seconds()
	for pod, now := range cpuAfter {
		if last, found := cpuBefore[pod]; found && now.at > last.at {
			r.cost[now.part] += 1e6 * (now.seconds - last.seconds) / (now.at - last.at) / deliveries
		}
	}
	return r
}

// counts are the figures that only grow, at a moment.
type counts struct {
	at             time.Time
	sent, unplaced uint64
}

func (s *system) counts(t *testing.T) (c counts) {
	t.Helper()
	f, err := s.figures()
	require.NoError(t, err)
	c.at = time.Now()
	for _, reader := range f.ReaderAPIs.Readers {
		c.sent += reader.MessagesSent
		c.unplaced += reader.Unplaced
	}
	return c
}

// use is the processor time that a container has used until a moment, both in seconds.
type use struct {
	part        string
	seconds, at float64
}

// cpu is what the nodes say of the release's containers, by pod.
func (s *system) cpu(t *testing.T) map[string]use {
	t.Helper()
	nodes, err := s.Kube.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	uses := map[string]use{}
	for _, node := range nodes.Items {
		text, err := s.Kube.CoreV1().RESTClient().Get().Resource("nodes").Name(node.Name).SubResource("proxy").Suffix("metrics/resource").DoRaw(t.Context())
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			labels, found := strings.CutPrefix(line, "container_cpu_usage_seconds_total{")
			if !found || !strings.Contains(labels, `namespace="`+s.release.Namespace+`"`) {
				continue
			}
			u := use{part: label(labels, "container")}
			_, err := fmt.Sscan(labels[strings.LastIndex(labels, "}")+1:], &u.seconds, &u.at)
			require.NoError(t, err, line)
			u.at /= 1000
			uses[label(labels, "pod")] = u
		}
	}
	return uses
}

func label(labels, name string) string {
	_, value, _ := strings.Cut(labels, name+`="`)
	value, _, _ = strings.Cut(value, `"`)
	return value
}

// The celebrity's scene: 30 % of the viewers watch one of the videos.
const (
	fans, sceneViewers, sceneVideos = 90, 300, 30
	// comments of each viewer a minute; the fleet delivers some 3,000 a second.
	scenePace = 20
)

// scaled shows what `kubectl scale` from 3 to 6 readers brings in the mode that the system is in, and adds to the table.
func scaled(t *testing.T, s *system) {
	attached := s.watch(t, "scaled-"+s.mode, sceneViewers, sceneVideos, scenePace, "--popularity=celebrity")
	before := s.measure(t, 3)
	s.scale(t, 6)
	if s.mode == random {
		s.awaitSpread(t, 6)
	}
	after := s.measure(t, 6)
	s.table = append(s.table, before, after)
	for _, r := range s.table {
		t.Log(r.String())
	}
	if s.mode == random {
		for _, r := range []row{before, after} {
			of := func(viewers float64) float64 { return 1 - math.Pow(1-1/float64(r.readers), viewers) }
			expected := (of(fans) + (sceneVideos-1)*of((sceneViewers-fans)/(sceneVideos-1.))) / sceneVideos
			assert.InDelta(t, expected, r.share, 0.12, "the closed form")
		}
		assert.Greater(t, after.copies, 1.3*before.copies, "twice the readers take in far more in all, instead of the same")
	} else {
		assert.Less(t, after.share, 0.62*before.share, "twice the readers each take in about half")
		// Small videos stay whole. The celebrity's 90 of 300 viewers are on one of three readers, and on two of six, which may have
		// 75 viewers each, or three, when the hash of the pods' names gives the second too many small videos (one time in thirty):
		// its share of the comments comes as often.
		const fanComments, noise = float64(fans) / sceneViewers, 0.05
		assert.LessOrEqual(t, before.copies, 1+fanComments+noise)
		assert.LessOrEqual(t, after.copies, 1+2*fanComments+noise)
		for _, r := range []row{before, after} {
			assert.LessOrEqual(t, r.busiest, 1.5)
		}
	}
	f := attached.leave(t)
	f.content(t)
	s.scale(t, 3)
	s.awaitSettled(t, 3)
}

// awaitSpread waits until the streams have spread over all readers, as they do when they end.
func (s *system) awaitSpread(t *testing.T, readers int) {
	t.Helper()
	await(t, patience, func() error {
		f, err := s.figures()
		if err != nil {
			return err
		}
		for _, reader := range f.ReaderAPIs.Readers {
			if len(f.ReaderAPIs.Readers) != readers || reader.ActiveConnections < f.ReaderAPIs.TotalActiveConnections/readers/2 {
				return fmt.Errorf("the streams have not spread over all readers yet: %s", f.String())
			}
		}
		return nil
	})
}

// gatewaysAgree asks each of the gateways for the same videos.
func gatewaysAgree(t *testing.T, s *system) {
	gateways := s.awaitPods(t, "gateway", 2, patience)
	before := s.counts(t).unplaced
	readers := map[string]bool{}
	for i := range 20 {
		at := map[string][]string{}
		for _, pod := range gateways {
			for range 2 {
				reader := s.through(t, &pod, fmt.Sprint("userid=me&videoid=agreed-", i))
				at[reader] = append(at[reader], pod.Name)
				readers[reader] = true
			}
		}
		assert.Len(t, at, 1, "video %d: readers, and the gateways that took a viewer there", i)
		// Whoever was sent to a reader counts there until it has announced itself again, also when the stream has ended. By more than
		// a reader takes in any case, in a fleet of so few viewers, it would be full.
		time.Sleep(time.Second)
	}
	assert.Len(t, readers, 3, "the videos are on all readers")
	time.Sleep(3 * time.Second) // until the readers have reported
	assert.Equal(t, before, s.counts(t).unplaced, "every viewer was placed")
}

// through opens a stream through one gateway, by way of the API server, and returns the reader that holds it.
func (s *system) through(t *testing.T, pod *corev1.Pod, query string) string {
	t.Helper()
	request := s.Kube.CoreV1().RESTClient().Get().Namespace(pod.Namespace).Resource("pods").Name(pod.Name + ":8080").SubResource("proxy").Suffix("connect")
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		request.Param(name, value)
	}
	body, err := request.Stream(t.Context())
	require.NoError(t, err)
	defer func() { _ = body.Close() }()
	text := ""
	for chunk := make([]byte, 1024); !strings.Contains(text, `"instance":"`) || !strings.HasSuffix(text, "\n"); {
		n, err := body.Read(chunk)
		require.NoError(t, err)
		text += string(chunk[:n])
	}
	return label(strings.ReplaceAll(text, `"instance":"`, `instance="`), "instance")
}

func gatewayRolled(t *testing.T, s *system) {
	attached := s.watch(t, "gateway-rolled", 150, 15, 12)
	old := s.awaitPods(t, "gateway", 2, patience)
	values := s.values
	values.Set = append(values.Set[:len(values.Set):len(values.Set)], "gateway.timeout=6m")
	require.NoError(t, s.release.Upgrade(t.Context(), s.chart, values, patience))
	s.values = values
	s.awaitGone(t, old)
	s.awaitPods(t, "gateway", 2, patience)
	await(t, time.Minute, attached.allConnected)
	f := attached.leave(t)
	f.content(t)
	assert.GreaterOrEqual(t, f.Verification.Reconnects, uint64(150), "every viewer came back through a new gateway")
}

func gatewayKilled(t *testing.T, s *system) {
	attached := s.watch(t, "gateway-killed", 150, 15, 12)
	victim := s.awaitPods(t, "gateway", 2, patience)[:1]
	var now int64
	require.NoError(t, s.Kube.CoreV1().Pods(namespace).Delete(t.Context(), victim[0].Name, metav1.DeleteOptions{GracePeriodSeconds: &now}))
	s.awaitGone(t, victim)
	s.awaitPods(t, "gateway", 2, patience)
	await(t, time.Minute, attached.allConnected)
	f := attached.leave(t)
	f.content(t)
	assert.Positive(t, f.Verification.Reconnects)
}

func (s *system) awaitGone(t *testing.T, pods []corev1.Pod) {
	t.Helper()
	await(t, patience, func() error {
		for _, pod := range pods {
			if _, err := s.Kube.CoreV1().Pods(pod.Namespace).Get(t.Context(), pod.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				return fmt.Errorf("%s: %w", pod.Name, errStillThere)
			}
		}
		return nil
	})
}

// pagesThroughTheGateway checks that a browser has the pages and the stream of the fleet where it has everything else.
func pagesThroughTheGateway(t *testing.T, s *system) {
	t.Helper()
	for _, path := range []string{"/", "/watch?videoid=video1", "/client.js", "/pages.json", "/viewers?videoid=video1"} {
		status, body, err := request(http.MethodGet, s.reader+path, "")
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, status, "%s: %s", path, body)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.reader+"/fleet", http.NoBody)
	require.NoError(t, err)
	r.Close = true
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	require.Equal(t, http.StatusOK, response.StatusCode)
	for event, err := range sse.Read(response.Body, &sse.ReadConfig{MaxEventSize: 1 << 20}) {
		require.NoError(t, err)
		if event.Type == "" {
			assert.Contains(t, event.Data, `"id":"livecomments-reader-`)
			return
		}
	}
	require.FailNow(t, "the stream ended without a snapshot")
}

// onlyTheGatewayIsOpen checks what strangers reach: the gateway's paths, and nothing behind it.
func onlyTheGatewayIsOpen(t *testing.T, s *system) {
	pagesThroughTheGateway(t, s)
	for path, want := range map[string]int{
		"/statistics": http.StatusOK, "/connect": http.StatusBadRequest, "/comment": http.StatusMethodNotAllowed,
		"/place?userid=me&videoid=v": http.StatusNotFound, "/metrics": http.StatusNotFound, "/livez": http.StatusNotFound,
	} {
		status, body, err := request(http.MethodGet, s.reader+path, "")
		require.NoError(t, err)
		assert.Equal(t, want, status, "%s: %s", path, body)
		assert.Contains(t, string(body), "{", path)
	}
	for name, port := range map[string]int{"readers": readerPort, "Comment API": commentPort} {
		url, err := s.URL(t.Context(), port)
		require.NoError(t, err)
		client := http.Client{Timeout: 3 * time.Second}
		response, err := client.Get(url + "/health")
		if err == nil {
			_ = response.Body.Close()
			err = errors.New(response.Status)
			assert.Fail(t, "strangers reach the "+name, err.Error())
		}
	}
}

// redirected upgrades the release from random to redirect under viewers.
func redirected(t *testing.T, s *system) {
	attached := s.watch(t, "redirected", 150, 15, 12)
	s.enter(t, redirect)
	f := attached.leave(t)
	f.content(t)
	assert.GreaterOrEqual(t, f.Verification.Reconnects, uint64(150), "every viewer has moved to a new pod")
}

func gatewayFromOutside(t *testing.T, s *system) {
	f := s.watchFromHere(t, "gateway-outside", map[string]string{"COMMENT_API_URL": s.comment, "READER_API_URLS": s.reader}, func() {
		victim := s.pods(t, "reader")[:1]
		require.NoError(t, s.Kube.CoreV1().Pods(namespace).Delete(t.Context(), victim[0].Name, metav1.DeleteOptions{}))
		s.awaitGone(t, victim)
		s.awaitPods(t, "reader", 3, patience)
	})
	f.content(t)
	assert.Positive(t, f.Verification.Reconnects)
}
