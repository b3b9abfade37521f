// Package cluster makes and finds the kind cluster that the end-to-end tests run on.
package cluster

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/kind/pkg/cluster"
	"sigs.k8s.io/kind/pkg/cluster/nodeutils"
	"sigs.k8s.io/kind/pkg/cmd"
	"sigs.k8s.io/yaml"
)

// Cluster is a kind cluster that runs.
type Cluster struct {
	Name string
	// Kubeconfig is the path of a file that leads to it, and to nothing else.
	Kubeconfig string
	REST       *rest.Config
	Kube       kubernetes.Interface

	provider *cluster.Provider
	// created says that the cluster is ours to delete.
	created bool
}

// Ensure finds the cluster of that name or makes it of a kind configuration file, with a node image ("" for kind's own
// choice). The port mappings of the file get free ports of this machine, so that it can stand beside another cluster of
// the same file.
func Ensure(name, configFile, nodeImage, workDir string) (*Cluster, error) {
	c := &Cluster{Name: name, Kubeconfig: filepath.Join(workDir, "kubeconfig"), provider: cluster.NewProvider(cluster.ProviderWithLogger(cmd.NewLogger()))}
	present, err := c.provider.List()
	if err != nil {
		return nil, fmt.Errorf("kind cannot list clusters (is Docker running?): %w", err)
	}
	if !slices.Contains(present, name) {
		if err := c.create(configFile, nodeImage); err != nil {
			return nil, err
		}
	}
	return c, c.connect()
}

func (c *Cluster) create(configFile, nodeImage string) error {
	text, err := os.ReadFile(configFile) //nolint:gosec // the repository's own file
	if err != nil {
		return err
	}
	var config v1alpha4.Cluster
	if err := yaml.UnmarshalStrict(text, &config); err != nil {
		return fmt.Errorf("%s: %w", configFile, err)
	}
	for i := range config.Nodes {
		for j := range config.Nodes[i].ExtraPortMappings {
			config.Nodes[i].ExtraPortMappings[j].HostPort = 0
		}
	}
	options := []cluster.CreateOption{
		cluster.CreateWithV1Alpha4Config(&config), cluster.CreateWithKubeconfigPath(c.Kubeconfig),
		cluster.CreateWithWaitForReady(2 * time.Minute), cluster.CreateWithDisplayUsage(false), cluster.CreateWithDisplaySalutation(false),
	}
	if nodeImage != "" {
		options = append(options, cluster.CreateWithNodeImage(nodeImage))
	}
	c.created = true
	return c.provider.Create(c.Name, options...)
}

func (c *Cluster) connect() error {
	if err := c.provider.ExportKubeConfig(c.Name, c.Kubeconfig, false); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		return err
	}
	// The tests ask often; nobody else is kept from the server by it.
	config.QPS, config.Burst, config.WarningHandler = 100, 200, rest.NoWarnings{}
	c.REST = config
	c.Kube, err = kubernetes.NewForConfig(config)
	return err
}

// Created says whether Ensure has made the cluster, or found it.
func (c *Cluster) Created() bool { return c.created }

// Delete removes the cluster.
func (c *Cluster) Delete() error { return c.provider.Delete(c.Name, c.Kubeconfig) }

// ExportLogs writes the logs of all nodes and pods into a folder.
func (c *Cluster) ExportLogs(folder string) error { return c.provider.CollectLogs(c.Name, folder) }

// LoadImages brings images of the local Docker engine onto every node.
func (c *Cluster) LoadImages(ctx context.Context, names ...string) error {
	nodes, err := c.provider.ListInternalNodes(c.Name)
	if err != nil {
		return err
	}
	var archive, complaint bytes.Buffer
	save := exec.CommandContext(ctx, "docker", append([]string{"save"}, names...)...) //nolint:gosec // our own images
	save.Stdout, save.Stderr = &archive, &complaint
	if err := save.Run(); err != nil {
		return fmt.Errorf("docker save: %w: %s", err, complaint.String())
	}
	var loading errgroup.Group
	for _, node := range nodes {
		loading.Go(func() error {
			if err := nodeutils.LoadImageArchive(node, bytes.NewReader(archive.Bytes())); err != nil {
				return fmt.Errorf("images onto %s: %w", node, err)
			}
			return nil
		})
	}
	return loading.Wait()
}

// Apply creates what a manifest file says, with the kubectl that every node has.
func (c *Cluster) Apply(file string) error {
	manifest, err := os.Open(file) //nolint:gosec // the repository's own file
	if err != nil {
		return err
	}
	defer func() { _ = manifest.Close() }()
	nodes, err := c.provider.ListInternalNodes(c.Name)
	if err != nil {
		return err
	}
	controlPlanes, err := nodeutils.ControlPlaneNodes(nodes)
	if err != nil {
		return err
	}
	var complaint bytes.Buffer
	err = controlPlanes[0].Command("kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", "apply", "-f", "-").
		SetStdin(manifest).SetStderr(&complaint).Run()
	if err != nil {
		return fmt.Errorf("kubectl apply -f %s: %w: %s", file, err, complaint.String())
	}
	return nil
}

// URL is where a node port of the cluster answers on this machine.
func (c *Cluster) URL(ctx context.Context, nodePort int) (string, error) {
	out, err := exec.CommandContext(ctx, "docker", "port", c.Name+"-control-plane", fmt.Sprintf("%d/tcp", nodePort)).Output() //nolint:gosec // our own cluster
	if err != nil {
		return "", fmt.Errorf("node port %d of cluster %s is not mapped to this machine: %w", nodePort, c.Name, err)
	}
	address, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if _, _, err := net.SplitHostPort(address); err != nil {
		return "", fmt.Errorf("docker port answered %q: %w", address, err)
	}
	return "http://" + address, nil
}
