//go:build e2e

package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func (s *system) readers(t *testing.T) *appsv1.Deployment {
	t.Helper()
	deployment, err := s.Kube.AppsV1().Deployments(namespace).Get(t.Context(), "livecomments-reader", metav1.GetOptions{})
	require.NoError(t, err)
	return deployment
}

// kept is what an upgrade must leave alone.
type kept struct {
	password string
	volume   types.UID
}

func (s *system) kept(t *testing.T) kept {
	t.Helper()
	secret, err := s.Kube.CoreV1().Secrets(namespace).Get(t.Context(), "livecomments-redis", metav1.GetOptions{})
	require.NoError(t, err)
	claim, err := s.Kube.CoreV1().PersistentVolumeClaims(namespace).Get(t.Context(), "data-livecomments-redis-0", metav1.GetOptions{})
	require.NoError(t, err)
	require.Len(t, secret.Data["password"], 32)
	return kept{string(secret.Data["password"]), claim.UID}
}

// diary notes how many readers there are, whenever it changes.
type diary struct {
	began time.Time
	last  string
}

func (d *diary) note(t *testing.T, s *system) int {
	t.Helper()
	hpa, err := s.Kube.AutoscalingV2().HorizontalPodAutoscalers(namespace).Get(t.Context(), "livecomments-reader", metav1.GetOptions{})
	require.NoError(t, err)
	use := "unknown"
	for _, metric := range hpa.Status.CurrentMetrics {
		if metric.Resource != nil && metric.Resource.Current.AverageUtilization != nil {
			use = fmt.Sprintf("%d%%", *metric.Resource.Current.AverageUtilization)
		}
	}
	if line := fmt.Sprintf("%d readers, %d wanted, CPU use %s of 70%%", hpa.Status.CurrentReplicas, hpa.Status.DesiredReplicas, use); line != d.last {
		d.last = line
		t.Logf("%4.0f s: %s", time.Since(d.began).Seconds(), line)
	}
	return int(hpa.Status.CurrentReplicas)
}

func autoscaling(t *testing.T, s *system) {
	before := s.kept(t)
	on := s.values
	on.Set = append(on.Set[:len(on.Set):len(on.Set)], "reader.autoscaling.enabled=true")
	previous := *s.chart
	metadata := *s.chart.Metadata
	metadata.Version = "0.0.2"
	previous.Metadata = &metadata
	require.NoError(t, s.release.Upgrade(t.Context(), &previous, on, patience))

	log := &diary{began: time.Now()}
	watching := s.watch(t, "staying-"+s.mode, 100, 10, 6)
	load := s.watch(t, "load-"+s.mode, 300, 6, 60)
	await(t, 4*time.Minute, func() error {
		if n := log.note(t, s); n < 3 {
			return fmt.Errorf("%d readers under load", n)
		}
		return nil
	})

	chosen := *s.readers(t).Spec.Replicas
	on.Set = append(on.Set, "reader.heartbeat=13s")
	require.NoError(t, s.release.Upgrade(t.Context(), s.chart, on, patience))
	assert.GreaterOrEqual(t, *s.readers(t).Spec.Replicas, chosen, "the upgrade keeps the replicas that the autoscaler chose")
	t.Logf("%4.0f s: the chart was upgraded; the readers were %d before and are %d", time.Since(log.began).Seconds(), chosen, *s.readers(t).Spec.Replicas)
	assert.Equal(t, before, s.kept(t), "password and volume")
	s.values = on

	under := load.leave(t)
	under.content(t)
	await(t, 5*time.Minute, func() error {
		if n := log.note(t, s); n > 1 {
			return fmt.Errorf("%d readers without load", n)
		}
		return nil
	})
	through := watching.leave(t)
	through.content(t)
}
