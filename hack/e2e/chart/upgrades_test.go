package chart_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"
)

func TestAnUpgradeOfTheChartAloneRestartsNothing(t *testing.T) {
	for set, values := range valueSets {
		before := render(t, values)
		newer := load(t)
		newer.Metadata.Version = "99.0.0"
		after, err := install(newer, values)
		require.NoError(t, err)
		for i, object := range before.objects {
			if kind := object.GetKind(); kind == "Deployment" || kind == "StatefulSet" {
				assert.Equal(t, object.Object["spec"], after.objects[i].Object["spec"], "%s %s with %s", kind, object.GetName(), set)
			}
			assert.Equal(t, "livecomments-99.0.0", after.objects[i].GetLabels()["helm.sh/chart"])
		}
	}
}

func TestAChangeRestartsWhatReadsItAndNothingElse(t *testing.T) {
	for _, test := range []struct {
		before, after string
		restarted     []string
	}{
		{"", "redis: {maxmemory: 512mb}", []string{"redis"}},
		{"", "redis: {extraConfig: maxclients 20000}", []string{"redis"}},
		{externalURL, strings.ReplaceAll(externalURL, "p%40ss", "other"), []string{"comment", "reader", "statistics"}},
		{"", "statistics: {rateWindow: 60s}", []string{"statistics"}},
		{"", "history: {length: 500}", []string{"comment", "reader"}},
		{"", "reader: {service: {type: LoadBalancer}}", nil},
		{"", "reader: {replicas: 5, autoscaling: {maxReplicas: 40}}", nil},
		{"", "monitoring: {serviceMonitor: {enabled: true}, prometheusRule: {enabled: true}, dashboard: {enabled: true}}", nil},
		{"", "commonLabels: {team: video}", []string{"comment", "gateway", "reader", "redis", "statistics", "test"}},
		{"", "gateway: {maxConnections: 5000}", []string{"gateway"}},
		{"", "gateway: {service: {type: LoadBalancer}}", nil},
		{"", "routing: {loadBound: 0.5}", []string{"gateway", "reader"}},
		{"", "routing: {moveRate: 0.5}", []string{"reader"}},
	} {
		before, after := render(t, test.before).pods(t), render(t, test.after).pods(t)
		var restarted []string
		for _, name := range sorted(before) {
			if !assert.ObjectsAreEqual(before[name], after[name]) {
				restarted = append(restarted, name)
			}
		}
		assert.Equal(t, test.restarted, restarted, test.after)
	}
}

// Helm changes what is in the cluster by what changed between two manifests: a number that somebody else set stays as long
// as no manifest has one.
func TestWhatAnUpgradeDoesToTheNumberOfReaders(t *testing.T) {
	const off = "reader: {autoscaling: {enabled: false}}"
	for _, test := range []struct {
		before, after string
		replicas      any
	}{
		{"", "reader: {linger: 1m}", 12},
		{byHand, byHand + "\nhistory: {length: 500}", 12},
		{keda, "", 12},
		{"", off, 3},
		{off, off + "\nhistory: {length: 500}", 3},
		// Nothing is what Kubernetes takes for one, until the autoscaler has looked.
		{off, "", nil},
		{off, byHand, nil},
	} {
		original, modified := reader(t, test.before), reader(t, test.after)
		var live appsv1.Deployment
		require.NoError(t, yaml.Unmarshal(original, &live))
		live.Spec.Replicas = ptr.To[int32](12)
		current, err := yaml.Marshal(live)
		require.NoError(t, err)
		result := upgrade(t, original, modified, current)
		if test.replicas == nil {
			assert.Nil(t, result.Spec.Replicas, "from %q to %q", test.before, test.after)
		} else {
			assert.EqualValues(t, test.replicas, *result.Spec.Replicas, "from %q to %q", test.before, test.after)
		}
	}
}

func reader(t *testing.T, values string) []byte {
	t.Helper()
	for _, object := range render(t, values).objects {
		if object.GetKind() == "Deployment" && object.GetName() == "livecomments-reader" {
			text, err := object.MarshalJSON()
			require.NoError(t, err)
			return text
		}
	}
	require.Fail(t, "there is no reader")
	return nil
}

// upgrade merges as Helm does.
func upgrade(t *testing.T, original, modified, current []byte) appsv1.Deployment {
	t.Helper()
	current, err := yaml.YAMLToJSON(current)
	require.NoError(t, err)
	schema, err := strategicpatch.NewPatchMetaFromStruct(appsv1.Deployment{})
	require.NoError(t, err)
	patch, err := strategicpatch.CreateThreeWayMergePatch(original, modified, current, schema, true)
	require.NoError(t, err)
	merged, err := strategicpatch.StrategicMergePatch(current, patch, appsv1.Deployment{})
	require.NoError(t, err)
	var result appsv1.Deployment
	require.NoError(t, yaml.Unmarshal(merged, &result))
	return result
}

func TestTheCommentsOutliveTheRelease(t *testing.T) {
	redis := one[appsv1.StatefulSet](t, render(t, ""), "StatefulSet", "livecomments-redis")
	assert.Equal(t, &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{
		WhenDeleted: appsv1.RetainPersistentVolumeClaimRetentionPolicyType, WhenScaled: appsv1.RetainPersistentVolumeClaimRetentionPolicyType,
	}, redis.Spec.PersistentVolumeClaimRetentionPolicy)
	require.Len(t, redis.Spec.VolumeClaimTemplates, 1)
	claim := redis.Spec.VolumeClaimTemplates[0].Spec
	assert.Equal(t, "8Gi", ptr.To(claim.Resources.Requests[corev1.ResourceStorage]).String())
	assert.Nil(t, claim.StorageClassName, "the cluster's")
}
