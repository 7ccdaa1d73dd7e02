// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	block    = 64 << 10
	pageSize = 8 // areas in one answer; vSphere sends about 2000
	seekData = 3 // lseek(2): the next part that is not a hole
)

var (
	epoch  = "52 " + uuid.New().String()[:8]
	images = map[string]string{} // frozen copies by changeId
)

// local is the file behind "[datastore] path".
func local(name string) string {
	var p object.DatastorePath
	p.FromString(name)
	for _, entity := range simulator.Map.All("Datastore") {
		if ds := entity.(*simulator.Datastore); ds.Name == p.Datastore {
			return path.Join(ds.Info.GetDatastoreInfo().Url, p.Path)
		}
	}
	return ""
}

func flat(name string) string { return strings.TrimSuffix(local(name), ".vmdk") + "-flat.vmdk" }

func disks(devices []types.BaseVirtualDevice) (found []*types.VirtualDisk) {
	for _, device := range devices {
		if disk, ok := device.(*types.VirtualDisk); ok {
			found = append(found, disk)
		}
	}
	return
}

func backing(disk *types.VirtualDisk) *types.VirtualDiskFlatVer2BackingInfo {
	b, _ := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
	return b
}

// replaceDisks is a copy of the devices with every disk's backing changed; the registry's own objects are shared with older configurations.
func replaceDisks(devices []types.BaseVirtualDevice, change func(*types.VirtualDisk, types.VirtualDiskFlatVer2BackingInfo) types.VirtualDiskFlatVer2BackingInfo) []types.BaseVirtualDevice {
	out := append([]types.BaseVirtualDevice{}, devices...)
	for i, device := range out {
		if disk, ok := device.(*types.VirtualDisk); ok && backing(disk) != nil {
			changed, b := *disk, change(disk, *backing(disk))
			changed.Backing = &b
			out[i] = &changed
		}
	}
	return out
}

// grow does what a snapshot does to disks: the VM goes on in children, the snapshot keeps the parents, with their changeIds.
func grow(vm *simulator.VirtualMachine) {
	if vm.Snapshot == nil {
		return
	}
	snapshot := simulator.Map.Get(*vm.Snapshot.CurrentSnapshot).(*simulator.VirtualMachineSnapshot)
	tracked := vm.Config.ChangeTrackingEnabled != nil && *vm.Config.ChangeTrackingEnabled
	snapshot.Config.Hardware.Device = replaceDisks(snapshot.Config.Hardware.Device, func(disk *types.VirtualDisk, b types.VirtualDiskFlatVer2BackingInfo) types.VirtualDiskFlatVer2BackingInfo {
		if tracked {
			b.ChangeId = fmt.Sprintf("%s/%d", epoch, len(images)+1)
			images[b.ChangeId] = freeze(root(&b))
		}
		return b
	})
	vm.Config.Hardware.Device = replaceDisks(vm.Config.Hardware.Device, func(disk *types.VirtualDisk, b types.VirtualDiskFlatVer2BackingInfo) types.VirtualDiskFlatVer2BackingInfo {
		parent := b
		stem := strings.TrimSuffix(parent.FileName, ".vmdk")
		number := 1
		if at := len(stem) - 7; at > 0 && stem[at] == '-' {
			if n, err := fmt.Sscanf(stem[at+1:], "%06d", &number); n == 1 && err == nil {
				stem, number = stem[:at], number+1
			}
		}
		b.FileName = fmt.Sprintf("%s-%06d.vmdk", stem, number)
		b.Parent = &parent
		child(local(parent.FileName), local(b.FileName), disk.CapacityInKB*2)
		return b
	})
}

// chain is a disk's backings, the newest first.
func chain(b types.VirtualDiskFlatVer2BackingInfo) (links []types.VirtualDiskFlatVer2BackingInfo) {
	for at := &b; at != nil; at = at.Parent {
		links = append(links, *at)
	}
	return
}

// root is the flat file under a chain. Nothing is ever written into the children, so it has all the data.
func root(b *types.VirtualDiskFlatVer2BackingInfo) string {
	links := chain(*b)
	return flat(links[len(links)-1].FileName)
}

// shrink consolidates after a snapshot is gone: links that no snapshot needs any more leave the chain.
func shrink(vm *simulator.VirtualMachine) {
	needed := map[string]bool{}
	var walk func([]types.VirtualMachineSnapshotTree)
	walk = func(trees []types.VirtualMachineSnapshotTree) {
		for _, tree := range trees {
			for _, disk := range disks(simulator.Map.Get(tree.Snapshot).(*simulator.VirtualMachineSnapshot).Config.Hardware.Device) {
				needed[backing(disk).FileName] = true
			}
			walk(tree.ChildSnapshotList)
		}
	}
	if vm.Snapshot != nil {
		walk(vm.Snapshot.RootSnapshotList)
	}
	vm.Config.Hardware.Device = replaceDisks(vm.Config.Hardware.Device, func(disk *types.VirtualDisk, b types.VirtualDiskFlatVer2BackingInfo) types.VirtualDiskFlatVer2BackingInfo {
		links := chain(b)
		kept := links[len(links)-1]
		kept.Parent = nil
		for i := len(links) - 2; i >= 0; i-- {
			if needed[links[i].FileName] || (i == 0 && len(needed) > 0) {
				parent := kept
				kept = links[i]
				kept.Parent = &parent
				child(local(parent.FileName), local(kept.FileName), disk.CapacityInKB*2)
				continue
			}
			os.Remove(local(links[i].FileName))
			os.Remove(strings.TrimSuffix(local(links[i].FileName), ".vmdk") + "-delta.vmdk")
		}
		return kept
	})
}

// child writes an empty vmfsSparse disk: a COWD header and an empty grain directory.
func child(parent, name string, sectors int64) {
	text, err := os.ReadFile(parent)
	if err != nil {
		return
	}
	cid := "fffffffe"
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "CID=") {
			cid = strings.TrimSpace(line[4:])
		}
	}
	delta := strings.TrimSuffix(name, ".vmdk") + "-delta.vmdk"
	os.WriteFile(name, []byte(fmt.Sprintf("# Disk DescriptorFile\nversion=1\nCID=%s\nparentCID=%s\ncreateType=\"vmfsSparse\"\n"+
		"parentFileNameHint=\"%s\"\n# Extent description\nRW %d VMFSSPARSE \"%s\"\n# The Disk Data Base\n#DDB\n", cid, cid, path.Base(parent), sectors, path.Base(delta))), 0600)
	tables := uint32((sectors + 4095) / 4096)
	var head bytes.Buffer
	head.WriteString("COWD")
	for _, value := range []uint32{1, 3, uint32(sectors), 1, 4, tables, 4 + (tables*4+511)/512} {
		binary.Write(&head, binary.LittleEndian, value)
	}
	data := make([]byte, 2048+int(tables)*4+512)
	copy(data, head.Bytes())
	os.WriteFile(delta, data, 0600)
}

func freeze(name string) string {
	in, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer in.Close()
	out, _ := os.CreateTemp("", "cbt-*")
	defer out.Close()
	buffer, zero, at := make([]byte, block), make([]byte, block), int64(0)
	for {
		n, err := io.ReadFull(in, buffer)
		if n > 0 && !bytes.Equal(buffer[:n], zero[:n]) {
			out.WriteAt(buffer[:n], at)
		}
		at += int64(n)
		if err != nil {
			break
		}
	}
	out.Truncate(at)
	return out.Name()
}

// changed answers QueryChangedDiskAreas: "*" for what holds data, a changeId for what differs from then; a page at a time.
func changed(request *types.QueryChangedDiskAreas) soap.HasFault {
	body := &methods.QueryChangedDiskAreasBody{}
	refuse := func(fault types.BaseMethodFault) soap.HasFault { body.Fault_ = simulator.Fault("", fault); return body }
	id, file := "", ""
	if request.Snapshot == nil { // allowed while the VM is off
		vm := simulator.Map.Get(request.This).(*simulator.VirtualMachine)
		if vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOff {
			return refuse(&types.InvalidArgument{InvalidProperty: "snapshot"})
		}
		for _, disk := range disks(vm.Config.Hardware.Device) {
			if disk.Key == request.DeviceKey && vm.Config.ChangeTrackingEnabled != nil && *vm.Config.ChangeTrackingEnabled {
				id, file = epoch, root(backing(disk))
			}
		}
	} else {
		snapshot, ok := simulator.Map.Get(*request.Snapshot).(*simulator.VirtualMachineSnapshot)
		if !ok {
			return refuse(&types.NotFound{})
		}
		for _, disk := range disks(snapshot.Config.Hardware.Device) {
			if disk.Key == request.DeviceKey {
				id, file = backing(disk).ChangeId, images[backing(disk).ChangeId]
			}
		}
	}
	now, err := os.Open(file)
	if err != nil {
		return refuse(&types.FileFault{File: "vim.hostd.vmsvc.cbt.noTrack"})
	}
	defer now.Close()
	var old *os.File
	if request.ChangeId != "*" {
		if strings.SplitN(request.ChangeId, "/", 2)[0] != strings.SplitN(id, "/", 2)[0] {
			return refuse(&types.FileFault{File: "vim.hostd.vmsvc.cbt.noEpoch"})
		}
		if old, err = os.Open(images[request.ChangeId]); err != nil {
			return refuse(&types.InvalidArgument{InvalidProperty: "changeId"})
		}
		defer old.Close()
	}
	info, _ := now.Stat()
	size := info.Size()
	if request.StartOffset >= size {
		return refuse(&types.InvalidArgument{InvalidProperty: "startOffset"})
	}
	result := types.DiskChangeInfo{StartOffset: request.StartOffset, Length: size - request.StartOffset}
	a, b := make([]byte, block), make([]byte, block)
	for at := request.StartOffset / block * block; at < size; at += block {
		if old == nil {
			start, err := syscall.Seek(int(now.Fd()), at, seekData)
			if err != nil {
				break
			}
			at = start / block * block
		}
		n, _ := now.ReadAt(a, at)
		for i := range b {
			b[i] = 0
		}
		if old != nil {
			old.ReadAt(b, at)
		}
		if bytes.Equal(a[:n], b[:n]) {
			continue
		}
		last := len(result.ChangedArea) - 1
		if last >= 0 && result.ChangedArea[last].Start+result.ChangedArea[last].Length == at {
			result.ChangedArea[last].Length += int64(n)
			continue
		}
		if last+1 == pageSize {
			result.Length = at - request.StartOffset
			break
		}
		result.ChangedArea = append(result.ChangedArea, types.DiskChangeExtent{Start: at, Length: int64(n)})
	}
	body.Res = &types.QueryChangedDiskAreasResponse{Returnval: result}
	return body
}
