package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const totalWeight = 10_000

// resources is what is served: read from the file that the benchmark wrote for both servers.
type resources struct {
	group   string
	byType  map[resource.Type][]types.Resource
	changed string
}

func read(path string) (*resources, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		Group     string `json:"group"`
		Changed   string `json:"changed"`
		Resources []struct {
			TypeURL string `json:"type_url"`
			Name    string `json:"name"`
			Body    []byte `json:"body"`
		} `json:"resources"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, err
	}
	found := &resources{group: file.Group, byType: map[resource.Type][]types.Resource{}, changed: file.Changed}
	for _, each := range file.Resources {
		message, err := parse(each.TypeURL, each.Body)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", each.Name, err)
		}
		found.byType[each.TypeURL] = append(found.byType[each.TypeURL], message)
	}
	return found, nil
}

// setWeight changes a weight in the route configuration that is to be changed.
func (r *resources) setWeight(weight uint32) {
	at := r.find(resource.RouteType, r.changed)
	// Published messages are not to be written to.
	changed := proto.Clone(r.byType[resource.RouteType][at]).(*route.RouteConfiguration)
	for _, each := range changed.VirtualHosts[0].Routes {
		if weighted := each.GetRoute().GetWeightedClusters(); weighted != nil && len(weighted.Clusters) > 1 {
			weighted.Clusters[0].Weight = wrapperspb.UInt32(weight)
			weighted.Clusters[1].Weight = wrapperspb.UInt32(totalWeight - weight)
			break
		}
	}
	r.set(resource.RouteType, at, changed)
}

// replace puts a resource in the place of the one of the same type and name.
func (r *resources) replace(typeURL, name string, body []byte) error {
	message, err := parse(typeURL, body)
	if err != nil {
		return err
	}
	at := r.find(typeURL, name)
	if at < 0 {
		return fmt.Errorf("no %s %q", typeURL, name)
	}
	r.set(typeURL, at, message)
	return nil
}

func (r *resources) find(typeURL, name string) int {
	return slices.IndexFunc(r.byType[typeURL], func(each types.Resource) bool {
		return cache.GetResourceName(each) == name
	})
}

func (r *resources) set(typeURL string, at int, message types.Resource) {
	present := slices.Clone(r.byType[typeURL])
	present[at] = message
	r.byType[typeURL] = present
}

func parse(typeURL string, body []byte) (types.Resource, error) {
	message, err := empty(typeURL)
	if err != nil {
		return nil, err
	}
	return message, proto.Unmarshal(body, message)
}

func empty(typeURL string) (types.Resource, error) {
	switch typeURL {
	case resource.ClusterType:
		return &cluster.Cluster{}, nil
	case resource.EndpointType:
		return &endpoint.ClusterLoadAssignment{}, nil
	case resource.ListenerType:
		return &listener.Listener{}, nil
	case resource.RouteType:
		return &route.RouteConfiguration{}, nil
	}
	return nil, fmt.Errorf("unexpected type %s", typeURL)
}
