"""Detections in the frame of the original images -> COCO AP, VOC mAP, tables and files."""
