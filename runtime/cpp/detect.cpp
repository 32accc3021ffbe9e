// Boxes in a picture by a model of `fcos-convert out=model.xml`, or .onnx, with OpenVINO.
// Usage: detect model.xml picture.ppm     (binary PPM, at the size that the detector shall see)
#include <cstdint>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <openvino/openvino.hpp>
#include <vector>

int main(int count, char** words) try {
    if (count != 3) throw std::runtime_error("usage: detect MODEL PICTURE.ppm");
    std::ifstream file(words[2], std::ios::binary);
    std::string kind;
    std::size_t width = 0, height = 0, largest = 0;
    file >> kind >> width >> height >> largest;
    file.get();  // the one space behind the header
    if (kind != "P6" || largest != 255 || width > 20000 || height > 20000)
        throw std::runtime_error(std::string(words[2]) + ": no PPM of 8 bits");
    std::vector<std::uint8_t> rgb(3 * width * height);
    if (!file.read(reinterpret_cast<char*>(rgb.data()), rgb.size()))
        throw std::runtime_error(std::string(words[2]) + ": ends too early");

    ov::Core core;
    auto model = core.compile_model(words[1], "CPU", ov::hint::inference_precision(ov::element::f32));
    ov::Tensor images(ov::element::u8, {1, 3, height, width});
    for (std::size_t pixel = 0; pixel < width * height; ++pixel)
        for (std::size_t colour = 0; colour < 3; ++colour)
            images.data<std::uint8_t>()[colour * width * height + pixel] = rgb[3 * pixel + colour];
    auto request = model.create_infer_request();
    request.set_tensor("images", images);
    request.infer();
    auto boxes = request.get_tensor("boxes"), scores = request.get_tensor("scores");
    auto labels = request.get_tensor("labels");
    std::cout << std::fixed << std::setprecision(3);
    for (std::size_t row = 0; row < scores.get_size(); ++row) {
        std::cout << labels.data<std::int64_t>()[row] << ' ' << scores.data<float>()[row];
        for (int side = 0; side < 4; ++side) std::cout << ' ' << boxes.data<float>()[4 * row + side];
        std::cout << '\n';
    }
} catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << '\n';
    return 2;
}
