// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// fault is what goes wrong with the next answers whose path contains Match.
type fault struct {
	Match  string // part of the path
	Kind   string // cut, short, status, whole
	After  int64  // bytes of the body before a cut
	Status int    // for status
	Retry  int    // Retry-After in seconds, for status
	Times  int    // how often; 0 is once
	Skip   int    // answers that are still good before it begins
}

var (
	faults []*fault
	ranges []string // what was asked for, in order
)

func due(name string) *fault {
	mu.Lock()
	defer mu.Unlock()
	for i, f := range faults {
		if !strings.Contains(name, f.Match) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			return nil
		}
		if f.Times--; f.Times <= 0 {
			faults = append(faults[:i:i], faults[i+1:]...)
		}
		return f
	}
	return nil
}

// cutter drops the connection after so many bytes of the body, or ends a body early and says it was all.
type cutter struct {
	http.ResponseWriter
	left  int64
	short bool
}

func (c *cutter) WriteHeader(code int) {
	if c.short {
		if length, err := strconv.ParseInt(c.Header().Get("Content-Length"), 10, 64); err == nil && length > c.left {
			c.Header().Set("Content-Length", fmt.Sprint(c.left))
		}
	}
	c.ResponseWriter.WriteHeader(code)
}

func (c *cutter) Write(data []byte) (int, error) {
	if int64(len(data)) < c.left {
		c.left -= int64(len(data))
		return c.ResponseWriter.Write(data)
	}
	c.ResponseWriter.Write(data[:c.left])
	c.left = 0
	if c.short {
		return len(data), nil
	}
	c.ResponseWriter.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// faulty is a handler that does wrong when it was told to, and remembers what was asked for.
func faulty(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			mu.Lock()
			ranges = append(ranges, r.URL.Path+" "+r.Header.Get("Range"))
			mu.Unlock()
		}
		f := due(r.URL.Path)
		if f == nil || r.Method != http.MethodGet {
			next(w, r)
			return
		}
		switch f.Kind {
		case "status":
			if f.Retry > 0 {
				w.Header().Set("Retry-After", strconv.Itoa(f.Retry))
			}
			w.WriteHeader(f.Status)
		case "whole": // a server without ranges answers with everything
			r.Header.Del("Range")
			next(w, r)
		default:
			next(&cutter{w, f.After, f.Kind == "short"}, r)
		}
	}
}

// folder guards the datastores: a living session, the right name and password, or a ticket for exactly this URL.
func folder(next http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		allowed := sessions[session(r)]
		if cookie, err := r.Cookie("vmware_cgi_ticket"); err == nil {
			target, known := tickets[cookie.Value]
			delete(tickets, cookie.Value)
			wanted, err := url.Parse(target)
			allowed = known && err == nil && wanted.Path == r.URL.Path
		}
		mu.Unlock()
		if name, secret, ok := r.BasicAuth(); ok {
			allowed = name == *user && secret == *password
		}
		if !allowed {
			w.Header().Set("WWW-Authenticate", `Basic realm="VMware HTTP server"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.URL.Query().Get("dsName") == "" && path.Clean(r.URL.Path) != "/folder" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if why := locked(r); why != "" {
			http.Error(w, why, http.StatusInternalServerError)
			return
		}
		next.ServeHTTP(w, r)
	}
}

// locked says that a running VM writes this file: its current disks are not readable, their parents are.
func locked(r *http.Request) string {
	name := fmt.Sprintf("[%s] %s", r.URL.Query().Get("dsName"), strings.TrimPrefix(r.URL.Path, "/folder/"))
	for _, entity := range simulator.Map.All("VirtualMachine") {
		vm := entity.(*simulator.VirtualMachine)
		if vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
			continue
		}
		for _, disk := range disks(vm.Config.Hardware.Device) {
			if b := backing(disk); b != nil {
				stem := strings.TrimSuffix(b.FileName, ".vmdk")
				if name == stem+"-flat.vmdk" || name == stem+"-delta.vmdk" {
					return "Device or resource busy"
				}
			}
		}
	}
	return ""
}

type nfc struct {
	mo.HttpNfcLease
	files map[string]string // by path of the URL
	devs  map[string]string // device keys by the same
	made  map[string]string // exported disks by their flat file
	last  time.Time
}

func (l *nfc) HttpNfcLeaseProgress(*types.HttpNfcLeaseProgress) soap.HasFault {
	l.last = time.Now()
	return &methods.HttpNfcLeaseProgressBody{Res: new(types.HttpNfcLeaseProgressResponse)}
}

func (l *nfc) end(state types.HttpNfcLeaseState) {
	l.State = state
	for _, name := range l.made {
		os.Remove(name)
	}
}

func (l *nfc) HttpNfcLeaseComplete(*types.HttpNfcLeaseComplete) soap.HasFault {
	l.end(types.HttpNfcLeaseStateDone)
	return &methods.HttpNfcLeaseCompleteBody{Res: new(types.HttpNfcLeaseCompleteResponse)}
}

func (l *nfc) HttpNfcLeaseAbort(*types.HttpNfcLeaseAbort) soap.HasFault {
	l.end(types.HttpNfcLeaseStateError)
	return &methods.HttpNfcLeaseAbortBody{Res: new(types.HttpNfcLeaseAbortResponse)}
}

func (l *nfc) alive() bool {
	return l.State == types.HttpNfcLeaseStateReady && time.Since(l.last) < time.Duration(l.Info.LeaseTimeout)*time.Second
}

var leases []*nfc

func lease(vm types.ManagedObjectReference, devices []types.BaseVirtualDevice) types.ManagedObjectReference {
	l := &nfc{files: map[string]string{}, devs: map[string]string{}, made: map[string]string{}, last: time.Now()}
	l.State = types.HttpNfcLeaseStateReady
	l.Self = types.ManagedObjectReference{Type: "HttpNfcLease", Value: "lease-" + uuid.New().String()}
	l.Info = &types.HttpNfcLeaseInfo{Lease: l.Self, Entity: vm, LeaseTimeout: 5}
	for i, disk := range disks(devices) {
		where := fmt.Sprintf("/nfcx/%s/disk-%d.vmdk", l.Self.Value, i)
		key := fmt.Sprintf("/%s/VirtualLsiLogicController0:%d", vm.Value, i)
		l.files[where], l.devs[where] = root(backing(disk)), key
		l.Info.DeviceUrl = append(l.Info.DeviceUrl, types.HttpNfcLeaseDeviceUrl{
			Key: key, ImportKey: fmt.Sprint(disk.Key), Url: fmt.Sprintf("https://*:%s%s", base.Port(), where), Disk: types.NewBool(true), TargetId: path.Base(where)})
		l.Info.TotalDiskCapacityInKB += disk.CapacityInKB
	}
	simulator.Map.Put(l)
	mu.Lock()
	leases = append(leases, l)
	mu.Unlock()
	return l.Self
}

func leaseStates() (states []string) {
	for _, l := range leases {
		states = append(states, string(l.State))
	}
	return
}

func find(where string) (*nfc, string) {
	mu.Lock()
	defer mu.Unlock()
	for _, l := range leases {
		if file, ok := l.files[where]; ok && l.alive() {
			return l, file
		}
	}
	return nil, ""
}

// serveLease streams a disk the way a host does: stream-optimized, chunked, no length, no ranges.
func serveLease(w http.ResponseWriter, r *http.Request) {
	l, file := find(r.URL.Path)
	if l == nil {
		http.NotFound(w, r)
		return
	}
	exported, err := l.export(file)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	in, err := os.Open(exported)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer in.Close()
	buffer := make([]byte, block)
	for l.alive() {
		n, err := in.Read(buffer)
		if n > 0 {
			w.Write(buffer[:n])
			w.(http.Flusher).Flush()
		}
		if err != nil {
			return
		}
	}
	panic(http.ErrAbortHandler)
}

// export makes a disk stream-optimized, once for each lease: the manifest is about the very bytes that were sent.
func (l *nfc) export(file string) (string, error) {
	mu.Lock()
	defer mu.Unlock()
	if made := l.made[file]; made != "" {
		return made, nil
	}
	out, err := os.CreateTemp("", "nfc-*.vmdk")
	if err != nil {
		return "", err
	}
	out.Close()
	said, err := exec.Command("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", file, out.Name()).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s", said)
	}
	if err := footer(out.Name()); err != nil {
		return "", err
	}
	l.made[file] = out.Name()
	l.last = time.Now() // a host sends at once; getting ready here is not the client's delay
	return out.Name(), nil
}

// footer moves the place of the grain directory from the header to the end, as a host that streams must: it does not know it before.
func footer(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	head, end := make([]byte, 512), make([]byte, 1536)
	if _, err := f.ReadAt(head, 0); err != nil {
		return err
	}
	end[0], end[12] = 1, 3 // a marker: one sector follows, a footer
	copy(end[512:], head)
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xff}, 8), 56); err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(end, (size+511)/512*512)
	return err
}

func manifest(request *types.HttpNfcLeaseGetManifest) soap.HasFault {
	body := &methods.HttpNfcLeaseGetManifestBody{Res: new(types.HttpNfcLeaseGetManifestResponse)}
	for _, l := range leases {
		if l.Self != request.This {
			continue
		}
		for where, file := range l.files {
			exported, err := l.export(file)
			if err != nil {
				continue
			}
			in, _ := os.Open(exported)
			digest := sha1.New()
			size, _ := io.Copy(digest, in)
			in.Close()
			body.Res.Returnval = append(body.Res.Returnval, types.HttpNfcLeaseManifestEntry{
				Key: l.devs[where], Sha1: fmt.Sprintf("%x", digest.Sum(nil)), Size: size, Disk: true})
		}
	}
	return body
}
