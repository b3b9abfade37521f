//go:build e2e

package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// viewers are simulated viewers in a pod of their own, inside the cluster, who watch through the readers' Service.
type viewers struct {
	system *system
	name   string
	count  int
	// verdict receives the last line of the pod's log.
	verdict chan string
}

// found is what viewers found, from their pod's last line.
type found struct {
	Posted, Arrived uint64
	Verification    struct {
		Missing, Duplicates, Misordered, Corrupt, Pending, NeverConnected, Gaps, Reconnects, FailedPosts uint64
	}
	LatencyMillis struct{ P50, P99, Max float64 }
}

func (f *found) String() string {
	v := f.Verification
	return fmt.Sprintf("%d comments posted, %d not taken; %d arrived: %d missing %d duplicates %d misordered %d gaps, %d reconnects; p50 %.1f ms p99 %.1f ms max %.0f ms",
		f.Posted, v.FailedPosts, f.Arrived, v.Missing, v.Duplicates, v.Misordered, v.Gaps, v.Reconnects, f.LatencyMillis.P50, f.LatencyMillis.P99, f.LatencyMillis.Max)
}

// watch starts viewers and returns when they watch. (At any time a few are between two streams, because streams end.)
func (s *system) watch(t *testing.T, name string, count, videos int, commentsPerMinute float64, more ...string) *viewers {
	t.Helper()
	base := "http://" + s.release.Name
	comment, reader := base+"-comment:3000", base+"-reader:4000"
	if s.mode == gateway {
		comment, reader = base+"-gateway", base+"-gateway"
	}
	no, yes, user := false, true, int64(65532)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			// The policies' name for viewers.
			"app.kubernetes.io/name": "livecomments", "app.kubernetes.io/instance": s.release.Name, "app.kubernetes.io/component": "client",
		}},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: &no,
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: &yes, RunAsUser: &user, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Containers: []corev1.Container{{
				Name: "viewers", Image: s.images["client"],
				Args: append([]string{
					fmt.Sprintf("--viewers=%d", count), fmt.Sprintf("--videos=%d", videos), fmt.Sprintf("--comments-per-minute=%g", commentsPerMinute),
					"--video-prefix=" + name + "-", "--settle-timeout=15s",
				}, more...),
				Env: []corev1.EnvVar{
					{Name: "INSTANCE_ID", Value: name},
					{Name: "COMMENT_API_URL", Value: comment},
					{Name: "READER_API_URLS", Value: reader},
					{Name: "STATISTICS_API_URL", Value: base + "-statistics:5000"},
					{Name: "REPORT_URL", Value: base + "-reports:5001"},
				},
				Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("64Mi")}},
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}
	_, err := s.Kube.CoreV1().Pods(s.release.Namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
	v := &viewers{system: s, name: name, count: count, verdict: make(chan string, 1)}
	t.Cleanup(func() { v.remove(t) })
	await(t, time.Minute, func() error {
		pod, err := s.Kube.CoreV1().Pods(s.release.Namespace).Get(t.Context(), name, metav1.GetOptions{})
		if err == nil && pod.Status.Phase != corev1.PodRunning {
			err = fmt.Errorf("the viewers' pod is %s", pod.Status.Phase)
		}
		return err
	})
	go v.follow(t)
	await(t, time.Minute, v.allConnected)
	return v
}

// follow reads the pod's log to its end.
func (v *viewers) follow(t *testing.T) {
	last := ""
	defer func() { v.verdict <- last }()
	log, err := v.system.Kube.CoreV1().Pods(v.system.release.Namespace).GetLogs(v.name, &corev1.PodLogOptions{Follow: true}).Stream(t.Context())
	if err != nil {
		last = err.Error()
		return
	}
	defer func() { _ = log.Close() }()
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "all viewers have left") {
			last = lines.Text()
		}
	}
}

func (v *viewers) allConnected() error {
	f, err := v.system.figures()
	if err != nil {
		return err
	}
	for _, client := range f.Clients {
		if client.ClientID == v.name && 20*client.Connected >= 19*v.count {
			return nil
		}
	}
	return fmt.Errorf("not all of the %d viewers have a stream: %+v", v.count, f.Clients)
}

// leave lets the viewers leave, and returns what they found.
func (v *viewers) leave(t *testing.T) found {
	t.Helper()
	v.remove(t)
	select {
	case line := <-v.verdict:
		var f found
		require.NoErrorf(t, json.Unmarshal([]byte(line), &f), "the viewers' last line: %q", line)
		t.Log(v.name+":", f.String())
		return f
	case <-time.After(time.Minute):
		require.Fail(t, "the viewers did not leave")
		return found{}
	}
}

func (v *viewers) remove(t *testing.T) {
	// Also when the test has failed, and its context is over.
	_ = v.system.Kube.CoreV1().Pods(v.system.release.Namespace).Delete(context.WithoutCancel(t.Context()), v.name, metav1.DeleteOptions{})
}

// content checks that nothing was lost on the way to any viewer, nor arrived twice.
func (f *found) content(t *testing.T) {
	t.Helper()
	assert.Positive(t, f.Posted)
	assert.Positive(t, f.Arrived)
	v := f.Verification
	assert.Zero(t, v.Missing, "missing")
	assert.Zero(t, v.Duplicates, "duplicates")
	assert.Zero(t, v.Misordered, "misordered")
	assert.Zero(t, v.Corrupt, "corrupt")
	assert.Zero(t, v.Pending, "pending")
	assert.Zero(t, v.NeverConnected, "never connected")
	assert.Zero(t, v.Gaps, "gaps")
}
