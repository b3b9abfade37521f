package chart_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

// secretOf is the Secret and the key that a variable comes from.
func secretOf(t *testing.T, pod corev1.PodTemplateSpec, variable string) string {
	t.Helper()
	variables := env(t, pod)
	require.Contains(t, variables, variable)
	require.NotNil(t, variables[variable].ValueFrom, variable)
	reference := variables[variable].ValueFrom.SecretKeyRef
	return reference.Name + "/" + reference.Key
}

func TestRedisAsksForAPasswordThatIsMadeUp(t *testing.T) {
	rendered := render(t, "")
	assert.Equal(t, []string{"livecomments-redis"}, rendered.names("Secret"))
	password := one[corev1.Secret](t, rendered, "Secret", "livecomments-redis").Data["password"]
	assert.Regexp(t, "^[A-Za-z0-9]{32}$", string(password))

	pods := rendered.pods(t)
	assert.Equal(t, "livecomments-redis/password", secretOf(t, pods["redis"], "REDISCLI_AUTH"))
	assert.Equal(t, []string{"/etc/redis/redis.conf", "--requirepass", "$(REDISCLI_AUTH)"}, pods["redis"].Spec.Containers[0].Args)
	for _, name := range []string{"comment", "reader", "statistics"} {
		assert.Equal(t, "livecomments-redis/password", secretOf(t, pods[name], "REDIS_PASSWORD"))
		assert.Equal(t, "livecomments-redis:6379", env(t, pods[name])["REDIS_HOST"].Value)
	}
	assert.NotContains(t, env(t, pods["test"]), "REDIS_PASSWORD", "it does not need it")
}

func TestAPasswordFromASecretIsUsedEverywhereAndNoneIsMade(t *testing.T) {
	rendered := render(t, passwordSecret)
	assert.Empty(t, rendered.names("Secret"))
	pods := rendered.pods(t)
	assert.Equal(t, "shared-redis/redis-password", secretOf(t, pods["redis"], "REDISCLI_AUTH"))
	for _, name := range []string{"comment", "reader", "statistics"} {
		assert.Equal(t, "shared-redis/redis-password", secretOf(t, pods[name], "REDIS_PASSWORD"))
	}
}

func TestWithoutAPasswordThereIsNoTraceOfOne(t *testing.T) {
	rendered := render(t, noPassword)
	assert.Empty(t, rendered.names("Secret"))
	pods := rendered.pods(t)
	assert.Equal(t, []string{"/etc/redis/redis.conf"}, pods["redis"].Spec.Containers[0].Args)
	for _, name := range []string{"redis", "comment", "reader", "statistics"} {
		for variable := range env(t, pods[name]) {
			assert.NotContains(t, []string{"REDIS_PASSWORD", "REDISCLI_AUTH"}, variable)
		}
	}
}

func TestARedisElsewhereTakesThePlaceOfTheOneHere(t *testing.T) {
	const url = "rediss://user:p%40ss@redis.example.org:6380/0"
	rendered := render(t, externalURL)
	assert.Empty(t, rendered.names("StatefulSet"))
	for _, name := range rendered.names("Service") {
		assert.NotContains(t, name, "redis")
	}
	assert.Equal(t, []string{"livecomments-external-redis"}, rendered.names("Secret"))
	assert.Equal(t, url, one[corev1.Secret](t, rendered, "Secret", "livecomments-external-redis").StringData["redis-url"])
	for _, name := range []string{"comment", "reader", "statistics"} {
		pod := rendered.pods(t)[name]
		assert.Equal(t, "livecomments-external-redis/redis-url", secretOf(t, pod, "REDIS_URL"))
		assert.NotContains(t, env(t, pod), "REDIS_HOST")
		assert.Empty(t, pod.Spec.Volumes)
	}
	for _, object := range rendered.objects {
		text, err := object.MarshalJSON()
		require.NoError(t, err)
		if object.GetKind() != "Secret" {
			assert.NotContains(t, string(text), "p%40ss", "only the Secret knows it")
		}
	}

	rendered = render(t, externalSecret)
	assert.Empty(t, rendered.names("Secret"))
	for _, name := range []string{"comment", "reader", "statistics"} {
		pod := rendered.pods(t)[name]
		assert.Equal(t, "shared-redis/url", secretOf(t, pod, "REDIS_URL"))
	}
}

// fileOf is the Secret and the key whose content is in the file that a variable names.
func fileOf(t *testing.T, pod corev1.PodTemplateSpec, variable string) string {
	t.Helper()
	file := env(t, pod)[variable].Value
	for _, mount := range pod.Spec.Containers[0].VolumeMounts {
		name, inside := strings.CutPrefix(file, mount.MountPath+"/")
		for _, volume := range pod.Spec.Volumes {
			if !inside || volume.Name != mount.Name {
				continue
			}
			for _, source := range volume.Projected.Sources {
				for _, item := range source.Secret.Items {
					if item.Path == name {
						return source.Secret.Name + "/" + item.Key
					}
				}
			}
		}
	}
	return ""
}

func TestTheCertificatesForARedisElsewhereAreFilesOfThePods(t *testing.T) {
	for tls, files := range map[string][3]string{
		"{}":                     {},
		"{caSecret: redis-ca}":   {"redis-ca/ca.crt"},
		"{certSecret: redis-ca}": {"", "redis-ca/tls.crt", "redis-ca/tls.key"},
		"{caSecret: redis-ca, certSecret: redis-ca}":                            {"redis-ca/ca.crt", "redis-ca/tls.crt", "redis-ca/tls.key"},
		"{caSecret: redis-ca, caSecretKey: root.crt, certSecret: redis-client}": {"redis-ca/root.crt", "redis-client/tls.crt", "redis-client/tls.key"},
	} {
		pods := render(t, "redis: {enabled: false}\nexternalRedis: {url: \"rediss://shared:6379\", tls: "+tls+"}").pods(t)
		for _, name := range []string{"comment", "reader", "statistics"} {
			for i, variable := range []string{"REDIS_CA_FILE", "REDIS_CERT_FILE", "REDIS_KEY_FILE"} {
				assert.Equal(t, files[i], fileOf(t, pods[name], variable), "%s of %s with %s", variable, name, tls)
				_, given := env(t, pods[name])[variable]
				assert.Equal(t, files[i] != "", given, "%s of %s with %s", variable, name, tls)
			}
			assert.Equal(t, tls == "{}", len(pods[name].Spec.Volumes) == 0, "%s with %s", name, tls)
		}
		assert.Empty(t, pods["test"].Spec.Volumes, "it does not need them")
	}
}

func TestReleasesThatShareADatabaseHavePrefixes(t *testing.T) {
	pods := render(t, "redis: {enabled: false}\nexternalRedis: {url: \"redis://shared:6379\", prefix: shop.1}").pods(t)
	for _, name := range []string{"comment", "reader", "statistics"} {
		assert.Equal(t, "shop.1", env(t, pods[name])["REDIS_PREFIX"].Value, name)
	}
	assert.NotContains(t, env(t, pods["test"]), "REDIS_PREFIX")
	for _, prefix := range []string{"a/b", "a:b", "*", "{a}"} {
		_, err := install(load(t), "redis: {enabled: false}\nexternalRedis: {url: \"redis://shared:6379\", prefix: \""+prefix+"\"}")
		require.ErrorContains(t, err, "prefix", prefix)
	}
}

func TestTheConfigurationOfRedisIsWhatTheValuesSay(t *testing.T) {
	config := func(values string) []string {
		return strings.Split(strings.TrimSpace(one[corev1.ConfigMap](t, render(t, values), "ConfigMap", "livecomments-redis").Data["redis.conf"]), "\n")
	}
	assert.Subset(t, config(""), []string{
		"appendonly yes", "appendfsync everysec", "maxmemory 1gb", "maxmemory-policy noeviction", `save ""`,
		"client-output-buffer-limit pubsub 128mb 32mb 60",
	})
	assert.Subset(t, config(everything), []string{"appendfsync always", "maxclients 20000", "timeout 0"})
	assert.NotContains(t, strings.Join(config(""), "\n"), "requirepass", "the password is no configuration")
}

func TestTheGeneratedPasswordIsAllThatDiffersBetweenTwoRenderings(t *testing.T) {
	for set, values := range valueSets {
		first, err := install(load(t), values)
		require.NoError(t, err)
		second, err := install(load(t), values)
		require.NoError(t, err)
		for i, object := range first.objects {
			if data, _ := object.Object["data"].(map[string]any); object.GetKind() == "Secret" && data["password"] != nil {
				for _, rendered := range []manifests{first, second} {
					data := rendered.objects[i].Object["data"].(map[string]any)
					_, err := base64.StdEncoding.DecodeString(data["password"].(string))
					require.NoError(t, err)
					delete(data, "password")
				}
			}
			assert.Equal(t, object, second.objects[i], set)
		}
		assert.Equal(t, first.notes, second.notes)
	}
}
